"""The rules: read-only functions from a situation to the events that follow from it.

They meet only through the state: none imports another, none imports effects. Beside each rule stands its ``due``
function: when its answer may change by the mere passing of time.
"""
