//! Narratives: one XHTML `<div>` with formatting alone (FHIR R4 narrative.html#xhtml; txt-1 and txt-2).
//!
//! A narrative is shown in browsers of people who did not write it, so whatever is not known to be harmless
//! is refused.

/// The most elements that may be open at once.
const OPEN_MAX: usize = 256;

/// Elements that may stand in a narrative, sorted.
const ELEMENTS: [&str; 60] = [
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "map",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
];

/// Attributes that may stand on them, sorted. The urls among them are looked at, too.
const ATTRIBUTES: [&str; 63] = [
    "abbr",
    "accesskey",
    "align",
    "alt",
    "axis",
    "bgcolor",
    "border",
    "cellpadding",
    "cellspacing",
    "char",
    "charoff",
    "charset",
    "cite",
    "class",
    "color",
    "cols",
    "colspan",
    "compact",
    "coords",
    "datetime",
    "dir",
    "face",
    "frame",
    "headers",
    "height",
    "href",
    "hreflang",
    "hspace",
    "id",
    "idref",
    "ismap",
    "lang",
    "longdesc",
    "name",
    "nohref",
    "noshade",
    "nowrap",
    "rel",
    "rev",
    "rows",
    "rowspan",
    "rules",
    "scope",
    "shape",
    "size",
    "space",
    "span",
    "src",
    "start",
    "style",
    "summary",
    "tabindex",
    "target",
    "title",
    "type",
    "usemap",
    "valign",
    "value",
    "vspace",
    "width",
    "xml:lang",
    "xml:space",
    "xmlns",
];

/// What is wrong with a narrative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not one well-formed `<div>`, or holds more than formatting: txt-1.
    Markup,
    /// It shows nothing: txt-2.
    Empty,
}

/// Looks through a narrative once.
pub(super) fn check(div: &str) -> Result<(), Fault> {
    let mut scan = Scan { open: Vec::new(), shows: false, closed: false };
    let mut rest = div;
    while let Some((text, markup)) = rest.split_once('<') {
        scan.text(text)?;
        rest = scan.markup(markup)?;
    }
    scan.text(rest)?;
    if !scan.closed {
        return Err(Fault::Markup);
    }
    if scan.shows { Ok(()) } else { Err(Fault::Empty) }
}

/// The state of one pass.
struct Scan<'t> {
    open: Vec<&'t str>,
    shows: bool,
    closed: bool,
}

impl<'t> Scan<'t> {
    fn text(&mut self, text: &str) -> Result<(), Fault> {
        let blank = text.bytes().all(|b| b.is_ascii_whitespace());
        if self.open.is_empty() {
            return if blank { Ok(()) } else { Err(Fault::Markup) };
        }
        self.shows |= !blank;
        entities(text)
    }

    /// Takes what follows a `<`, and gives back what follows its `>`.
    fn markup(&mut self, markup: &'t str) -> Result<&'t str, Fault> {
        if let Some(comment) = markup.strip_prefix("!--") {
            return comment.split_once("-->").map(|(_, rest)| rest).ok_or(Fault::Markup);
        }
        if let Some(name) = markup.strip_prefix('/') {
            let (name, rest) = name.split_once('>').ok_or(Fault::Markup)?;
            if self.open.pop() != Some(name.trim_ascii_end()) {
                return Err(Fault::Markup);
            }
            self.closed = self.open.is_empty();
            return Ok(rest);
        }
        let end =
            markup.find(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/').ok_or(Fault::Markup)?;
        let (name, rest) = markup.split_at_checked(end).ok_or(Fault::Markup)?;
        self.start(name)?;
        let rest = attributes(name, rest)?;
        if let Some(rest) = rest.strip_prefix("/>") {
            self.closed = self.open.is_empty();
            return Ok(rest);
        }
        if self.open.len() >= OPEN_MAX {
            return Err(Fault::Markup);
        }
        self.open.push(name);
        rest.strip_prefix('>').ok_or(Fault::Markup)
    }

    fn start(&mut self, name: &str) -> Result<(), Fault> {
        if self.open.is_empty() && (self.closed || name != "div") {
            return Err(Fault::Markup);
        }
        if ELEMENTS.binary_search(&name).is_err() {
            return Err(Fault::Markup);
        }
        self.shows |= name == "img";
        Ok(())
    }
}

/// Reads attributes up to `>` or `/>`, and gives back the text from there.
fn attributes<'t>(element: &str, mut rest: &'t str) -> Result<&'t str, Fault> {
    loop {
        let trimmed = rest.trim_ascii_start();
        if trimmed.starts_with('>') || trimmed.starts_with("/>") {
            return Ok(trimmed);
        }
        if trimmed.len() == rest.len() {
            return Err(Fault::Markup);
        }
        let (name, after) = trimmed.split_once('=').ok_or(Fault::Markup)?;
        let after = after.trim_ascii_start();
        let quote = after.chars().next().filter(|c| *c == '"' || *c == '\'').ok_or(Fault::Markup)?;
        let (value, after) = after.get(1..).and_then(|v| v.split_once(quote)).ok_or(Fault::Markup)?;
        attribute(element, name.trim_ascii_end(), value)?;
        rest = after;
    }
}

fn attribute(element: &str, name: &str, value: &str) -> Result<(), Fault> {
    if ATTRIBUTES.binary_search(&name).is_err() || value.contains('<') {
        return Err(Fault::Markup);
    }
    entities(value)?;
    let harmless = match name {
        "xmlns" => value == "http://www.w3.org/1999/xhtml",
        "href" | "cite" | "longdesc" | "usemap" => is_harmless_url(value),
        "src" => is_harmless_url(value) || (element == "img" && is_inline_image(value)),
        "style" => is_harmless_style(value),
        _ => true,
    };
    if harmless { Ok(()) } else { Err(Fault::Markup) }
}

/// A relative link, or an absolute one of a scheme that only fetches or calls. An entity could spell another.
fn is_harmless_url(url: &str) -> bool {
    let Some((scheme, _)) = url.split_once(':') else { return !hides_colon(url) };
    if scheme.contains(['/', '#', '?']) {
        return !hides_colon(scheme);
    }
    ["http", "https", "mailto", "tel", "urn", "ftp", "cid"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Whether an entity stands where a browser would look for a scheme.
fn hides_colon(text: &str) -> bool {
    let head = text.split(['/', '#', '?']).next().unwrap_or(text);
    head.contains('&') || text.contains("&#") && !text.contains(['/', '?'])
}

/// A file next to the narrative, as HL7's publisher writes them: a plain name up to the bracket.
fn is_beside(url: &str) -> bool {
    let Some((name, _)) = url.split_once(')') else { return false };
    name.trim_end_matches(['"', '\''])
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// A picture in the markup itself; SVG can hold scripts. HL7's own narratives have a space after `data:`.
fn is_inline_image(url: &str) -> bool {
    let starts =
        |text: &str, word: &str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    let kind = url.get(5..).unwrap_or_default().trim_ascii_start();
    starts(url, "data:") && starts(kind, "image/") && !starts(kind, "image/svg")
}

/// Styles may not fetch from elsewhere or compute; escapes could spell what we look for.
fn is_harmless_style(style: &str) -> bool {
    let lower = style.to_ascii_lowercase();
    let fetches = lower.split("url(").skip(1).any(|url| {
        let url = url.trim_start_matches(['"', '\'']);
        !is_inline_image(url) && !is_beside(url)
    });
    let banned = [
        "expression",
        "javascript",
        "behavior",
        "-moz-binding",
        "@import",
        "image-set",
        "image(",
        "src(",
        "\\",
        "/*",
    ];
    !fetches && !banned.iter().any(|word| lower.contains(word)) && !lower.replace("&quot;", "").contains('&')
}

/// `&` must begin a character reference.
fn entities(text: &str) -> Result<(), Fault> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('&') {
        let (name, tail) = after.split_once(';').ok_or(Fault::Markup)?;
        let named = |n: &str| !n.is_empty() && n.len() <= 32 && n.bytes().all(|b| b.is_ascii_alphanumeric());
        if !named(name.strip_prefix('#').unwrap_or(name)) {
            return Err(Fault::Markup);
        }
        rest = tail;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
