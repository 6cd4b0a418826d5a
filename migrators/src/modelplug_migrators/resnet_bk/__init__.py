"""The family `resnet-bk`: configurations, checkpoints and source of ResNet-BK before 1.0."""
