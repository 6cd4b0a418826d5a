"""The command line of this package: `resnet-bk VERB`."""
