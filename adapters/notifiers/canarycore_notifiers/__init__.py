"""Chat notifiers for canarycore.

message   an alert, independent of a chat's format
chat      a chat room behind a webhook: the port Notifier
slack     Slack, and the rooms that read its format: Discord and Rocket.Chat
msteams   Microsoft Teams: workflows, and old connectors
gchat     Google Chat
"""
