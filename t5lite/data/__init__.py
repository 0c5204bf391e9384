"""From text files to batches: vocabulary, token store, objectives, packing, pipeline, host loader.

NumPy throughout; JAX is imported only by ``host_loader``, Grain only when a pipeline is opened.
"""
