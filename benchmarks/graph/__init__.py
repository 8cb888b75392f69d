"""Graph's presence API once more, from Microsoft's documentation, made for speed.

It shares no line with `presence_manager.emulator`, so that neither repeats the other's mistakes.
"""
