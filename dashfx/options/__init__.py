"""Options: whatever may be chosen of a model beside a conv's kernel, a kind a file, and the protocol of all."""
