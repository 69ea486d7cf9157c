"""What videos cost: time, energy and money, beside what clouds charge."""
