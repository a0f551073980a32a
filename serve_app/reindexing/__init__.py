"""Another model for all photos: fill a version of the index beside the live one, compare, flip, tidy up."""
