"""Application Auto Scaling of endpoints: targets, policies, and the changes that follow from them."""
