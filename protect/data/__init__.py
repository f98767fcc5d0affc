"""From a folder of files to labelled pictures: which they are, their names, their pixels."""
