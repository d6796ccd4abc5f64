//! What the standards of the web say, without a network: robots.txt, the links of a page, which URLs are the same.
