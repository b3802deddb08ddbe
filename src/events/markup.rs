//! Text within markup: of HTML and of XML 1.0.
//!
//! Imports nothing.

/// Appends text that both take for nothing but text, inside elements and quoted attributes; `instead` stands for what they cannot
/// hold.
pub(super) fn escape(out: &mut String, text: &str, instead: char) {
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => out.push(instead),
            letter => out.push(letter),
        }
    }
}
