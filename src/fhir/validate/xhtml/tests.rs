//! Tests of `xhtml`.

use super::*;

#[track_caller]
fn faults(expected: Result<(), Fault>, narratives: &[&str]) {
    for narrative in narratives {
        assert_eq!(check(narrative), expected, "{narrative}");
    }
}

#[test]
fn lists_are_sorted() {
    assert!(ELEMENTS.is_sorted() && ATTRIBUTES.is_sorted());
}

#[test]
fn formatting_is_fine() {
    faults(
        Ok(()),
        &[
            "<div>text</div>",
            "<div xmlns=\"http://www.w3.org/1999/xhtml\"><p class='a'>x &amp; y &#160;&nbsp;</p><br/><hr /></div>",
            " <div><!-- <script> --><table border=\"1\"><tr><td colspan=\"2\">1 > 0</td></tr></table></div >\n",
            "<div><img src=\"data:image/png;base64,AAAA\" alt=\"x\"/></div>",
            "<div><a href=\"http://a.b/c?d=e&amp;f=g:h\">l</a><a href=\"#x\" name=\"y\">l</a><a href='Patient/1'>l</a></div>",
            "<div style=\"color: red; width: 50%\">x</div>",
            "<div style=\"background: url(x_1.png)\">x</div>",
            "<div style=\"background: URL(data: image/png;base64,AAAA)\">x</div>",
        ],
    );
}

#[test]
fn anything_else_is_refused() {
    faults(
        Err(Fault::Markup),
        &[
            "",
            "text",
            "<p>x</p>",
            "<div>x",
            "<div>x</p>",
            "<div><p>x</div></p>",
            "<div>x</div><div>y</div>",
            "<div>x</div>y",
            "x<div>x</div>",
            "</div>",
            "<div>x</div></div>",
            "<div",
            "<div><",
            "<div><>",
            "<div><script>alert(1)</script></div>",
            "<div><SCRIPT>x</SCRIPT></div>",
            "<div><iframe src='x'/>x</div>",
            "<div><object/>x</div>",
            "<div><form><input/></form></div>",
            "<div><style>x</style></div>",
            "<div><svg/>x</div>",
            "<div><link href='x'/>x</div>",
            "<div><meta/>x</div>",
            "<div><base href='x'/>x</div>",
            "<div onclick=\"x()\">x</div>",
            "<div ONCLICK=\"x()\">x</div>",
            "<div><img src='x' onerror='y'/></div>",
            "<div><img src='x'onerror='y'/></div>",
            "<div/onclick='x'>x</div>",
            "<div a>x</div>",
            "<div class=a>x</div>",
            "<div><a href=\"javascript:x\">x</a></div>",
            "<div><a href=\" JavaScript:x\">x</a></div>",
            "<div><a href=\"java&#115;cript:x\">x</a></div>",
            "<div><a href=\"javascript&#58;x\">x</a></div>",
            "<div><a href=\"javascript&colon;x\">x</a></div>",
            "<div><a href=\"java\tscript:x\">x</a></div>",
            "<div><a href=\"data:text/html,x\">x</a></div>",
            "<div><a href=\"vbscript:x\">x</a></div>",
            "<div><img src=\"data:image/svg+xml,x\"/></div>",
            "<div><img src=\"data:text/html,x\"/></div>",
            "<div style=\"background: URL(//x)\">x</div>",
            "<div style=\"width: expression(x)\">x</div>",
            "<div style=\"background: url&lpar;//x)\">x</div>",
            "<div style=\"background: image-set('//x' 1x)\">x</div>",
            "<div style=\"a: url(data:image/png,x); b: url(http://x)\">x</div>",
            "<div style=\"a: url(data:text/html,x)\">x</div>",
            "<div style=\"b\\65 havior: x\">x</div>",
            "<div xmlns=\"http://www.w3.org/2000/svg\">x</div>",
            "<div>a & b</div>",
            "<div>a &b</div>",
            "<div>&;</div>",
            "<div><![CDATA[x]]></div>",
            "<div><?php x ?></div>",
            "<!DOCTYPE div><div>x</div>",
            "<div title=\"<b\">x</div>",
            "<div><!-- x</div>",
        ],
    );
    assert_eq!(check(&"<div>".repeat(10_000)), Err(Fault::Markup));
}

#[test]
fn a_narrative_shows_something() {
    faults(Err(Fault::Empty), &["<div></div>", "<div/>", "<div>  \n<p/></div>", "<div><!-- x --></div>"]);
}
