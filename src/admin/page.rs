//! The status page: one document that asks for nothing else, put together from its parts when natpulse is built.

/// The page. `{{nonce}}` stands where its policy wants proof that a style or a script is its own, `{{page}}` where it is
/// told what only it may know.
pub(super) const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style nonce=\"{{nonce}}\">\n",
    include_str!("page/page.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("page/body.html"),
    "<script type=\"module\" nonce=\"{{nonce}}\">\n",
    include_str!("page/words.js"),
    include_str!("page/chart.js"),
    include_str!("page/list.js"),
    include_str!("page/tables.js"),
    include_str!("page/live.js"),
    "</script>\n</body>\n</html>\n",
);
