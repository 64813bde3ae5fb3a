"""Names of the package sagemaker_inference that scripts import: content types, decoders and encoders."""
