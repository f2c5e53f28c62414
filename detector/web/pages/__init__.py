"""Pages for people: made on the server, whole without script; live parts enhance them."""
