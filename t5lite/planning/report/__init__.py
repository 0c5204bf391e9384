"""What was compiled, predicted or found, for people: tables, pages, pictures, advice."""
