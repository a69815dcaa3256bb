"""Tables that verbs show, one file a topic; nothing is printed here."""
