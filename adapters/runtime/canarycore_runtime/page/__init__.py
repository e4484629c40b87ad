"""The web page of rollouts: views, rendering, and a small server.

    views           the content of the page as plain data, made from rollouts and statuses
    history         weights and analyses over time, in bounded memory
    markup          escaped HTML
    chart           weights over time as SVG
    rendering       views to HTML
    protection      sessions, tokens of forms, and the check of origins and hosts
    server          the requests (needs the extra `http`)
    local           the page on one's own machine (needs it too)

Everything but `server` and `local` is pure: data in, data out. A page needs a `PageSource`, which reads rollouts, and a
`Door`, which signs viewers in. A viewer sends commands with rights of its own; the page has none.
"""
