"""Chat notifiers for canarycore: who is told by an alert.

message   what an alert says
chat      a chat room behind a webhook: the port Notifier
slack     Slack, and the rooms that read its format: Discord and Rocket.Chat
msteams   Microsoft Teams
gchat     Google Chat
"""
