"""The paper's experiments on worlds whose truth is known. Trains with the product's own trainer; decides no defaults for it."""
