"""Result documents drawn for people; the facts are theirs, none is computed here."""
