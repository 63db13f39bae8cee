//! Which policies and models are compared by default, and how that is printed.
