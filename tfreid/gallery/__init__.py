"""Find this person: a gallery of embeddings that is searched, watched and labelled."""
