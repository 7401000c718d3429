"""Tables in, decisions out; nothing here prints."""
