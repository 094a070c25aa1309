"""All that touches the inside of Lightning's Trainer."""
