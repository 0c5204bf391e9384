"""Starting a run where its machines are: one file a platform, rendered from the recipe, handed to its client.

What reaches the machines is one self-contained text (a script or a manifest) that holds the whole
configuration; nothing here waits for a run or keeps a state. A platform is a class in ``platforms/``, a
template in ``templates/`` and one line in ``platforms.PLATFORMS``.
"""
