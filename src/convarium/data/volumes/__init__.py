"""Volumes: from files to channels of voxels with a spacing, and on to the input of a network."""
