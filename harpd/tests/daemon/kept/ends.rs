//! How kept calls end when nobody is there.
