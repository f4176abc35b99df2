"""The ground floor: files, images and tables on disk, shards."""
