"""A finished model leaves Keras: SavedModel, ONNX, LiteRT, each compared with Keras before it goes.

What is exported is an artifact's probabilities: of several models their mean, in one file.
"""
