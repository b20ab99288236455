"""deepgenre: hears a piece of music and says its genre and tags."""
