"""The command ``serve``: pages of directories, from which files and zip archives are downloaded."""
