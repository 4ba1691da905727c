"""Is this machine ready? One look at everything that mjctl needs before it is needed."""
