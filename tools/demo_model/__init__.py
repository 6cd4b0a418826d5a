"""The parts of the demo model's training script: corpus, tokenizer, network, training and export."""
