//! Writes the canonical text of a document while reading it.
//!
//! Members are written in their original order and sorted when their object ends, so no tree of values is ever built.
//! Besides the text, memory holds only one entry for each member of the objects that are open.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::value::RawValue;

use super::{
    CanonicalFault, CanonicalReason, MAX_BYTES, MAX_DEPTH, MAX_FAULTS, MAX_POINTER_CHARACTERS, number, push_token,
};

/// Result of writing a document.
pub(super) struct Written {
    /// Canonical text, if there are no faults. Longer than [`MAX_BYTES`] if the document is too long; the rest of it has not
    /// been read.
    pub text: String,
    /// The first faults.
    pub faults: Vec<CanonicalFault>,
    /// Number of further faults.
    pub more: usize,
}

/// Reads a document and writes its canonical text. After a fault no more text is written, but reading continues to find
/// further faults.
pub(super) fn write(raw: &RawValue) -> Written {
    let mut writer = Writer {
        input: raw.get(),
        at: 0,
        text: String::with_capacity(raw.get().len().min(MAX_BYTES)),
        members: Vec::new(),
        path: Vec::new(),
        faults: Vec::new(),
        more: 0,
    };
    // The writer knows why it stopped: a value that is nested too deeply is a fault, and a text that is too long has its
    // length.
    let _ = writer.value();
    Written { text: writer.text, faults: writer.faults, more: writer.more }
}

struct Writer<'a> {
    input: &'a str,
    at: usize,
    text: String,
    /// Members of the objects that are open, those of the innermost object last.
    members: Vec<Member<'a>>,
    path: Vec<Step>,
    faults: Vec<CanonicalFault>,
    more: usize,
}

struct Member<'a> {
    name: Cow<'a, str>,
    /// Start of the name in the text.
    start: usize,
    /// End of the value in the text.
    end: usize,
}

/// A step from a value to one inside it.
#[derive(Clone, Copy)]
enum Step {
    Element(usize),
    /// Index in `members`.
    Member(usize),
}

/// Error of documents whose rest is not read: they are nested too deeply, or too long.
struct Stopped;

/// The input is known to be JSON, so nothing here checks the syntax.
impl<'a> Writer<'a> {
    fn value(&mut self) -> Result<(), Stopped> {
        self.skip_blanks();
        match self.peek() {
            b'{' => self.nested(Self::object)?,
            b'[' => self.nested(Self::array)?,
            b'"' => {
                self.string();
            }
            b'-' | b'0'..=b'9' => self.number(),
            _ => {
                let literal = self.take_while(|byte| byte.is_ascii_alphabetic());
                self.push(literal);
            }
        }
        // Checked after every value, so a hostile document costs no more than the longest one that is good for anything.
        if self.text.len() > MAX_BYTES { Err(Stopped) } else { Ok(()) }
    }

    /// Appends to the canonical text, unless a fault has made it useless.
    fn push(&mut self, text: &str) {
        if self.faults.is_empty() {
            self.text.push_str(text);
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Stopped>) -> Result<(), Stopped> {
        if self.path.len() == MAX_DEPTH {
            self.refuse(CanonicalReason::TooDeep);
            return Err(Stopped);
        }
        self.at += 1;
        read(self)
    }

    fn array(&mut self) -> Result<(), Stopped> {
        self.push("[");
        if !self.ends(b']') {
            for index in 0.. {
                self.path.push(Step::Element(index));
                self.value()?;
                self.path.pop();
                if self.ends(b']') {
                    break;
                }
                self.at += 1;
                self.push(",");
            }
        }
        self.push("]");
        Ok(())
    }

    fn object(&mut self) -> Result<(), Stopped> {
        let (first, start) = (self.members.len(), self.text.len());
        self.push("{");
        if !self.ends(b'}') {
            loop {
                self.member()?;
                if self.ends(b'}') {
                    break;
                }
                self.at += 1;
                self.push(",");
            }
        }
        self.push("}");
        self.put_in_order(first, start);
        self.members.truncate(first);
        Ok(())
    }

    fn member(&mut self) -> Result<(), Stopped> {
        self.skip_blanks();
        let start = self.text.len();
        let name = self.string();
        self.skip_blanks();
        self.at += 1;
        self.push(":");
        let index = self.members.len();
        self.members.push(Member { name, start, end: start });
        self.path.push(Step::Member(index));
        self.value()?;
        self.path.pop();
        self.members[index].end = self.text.len();
        Ok(())
    }

    /// Sorts the members of the object that begins at `start` (RFC 8785, section 3.2.3), and refuses duplicate names.
    fn put_in_order(&mut self, first: usize, start: usize) {
        let members = &mut self.members[first..];
        if members.is_sorted_by(|one, next| by_utf16(&one.name, &next.name).is_lt()) {
            return;
        }
        members.sort_by(|one, other| by_utf16(&one.name, &other.name));
        if self.faults.is_empty() {
            let mut sorted = String::with_capacity(self.text.len() - start);
            for member in members {
                sorted.push(if sorted.is_empty() { '{' } else { ',' });
                sorted.push_str(&self.text[member.start..member.end]);
            }
            sorted.push('}');
            self.text.replace_range(start.., &sorted);
        }
        for index in first + 1..self.members.len() {
            if self.members[index - 1].name == self.members[index].name {
                self.path.push(Step::Member(index));
                self.refuse(CanonicalReason::DuplicateName);
                self.path.pop();
            }
        }
    }

    /// Writes a string and returns its content.
    fn string(&mut self) -> Cow<'a, str> {
        let start = self.at;
        let bytes = self.input.as_bytes();
        let mut has_escapes = false;
        self.at += 1;
        while bytes[self.at] != b'"' {
            let is_escape = bytes[self.at] == b'\\';
            has_escapes |= is_escape;
            self.at += if is_escape { 2 } else { 1 };
        }
        self.at += 1;
        let spelling = &self.input[start..self.at];
        let content = &spelling[1..spelling.len() - 1];
        if !has_escapes {
            // Every character that the canonical form escapes must be escaped in any JSON string, so the spelling is
            // canonical.
            self.push(spelling);
            return Cow::Borrowed(content);
        }
        match serde_json::from_str::<String>(spelling) {
            Ok(content) => {
                self.push(&serde_json::to_string(&content).expect("a text is always JSON"));
                Cow::Owned(content)
            }
            Err(_) => {
                self.refuse(CanonicalReason::LoneSurrogate);
                Cow::Borrowed(content)
            }
        }
    }

    fn number(&mut self) {
        let spelling = self.take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
        match number::canonical(spelling) {
            Some(canonical) => self.push(&canonical),
            None => self.refuse(CanonicalReason::InexactNumber),
        }
    }

    /// Returns whether the array or object ends here. If so, consumes its bracket.
    fn ends(&mut self, bracket: u8) -> bool {
        self.skip_blanks();
        let ends = self.peek() == bracket;
        self.at += usize::from(ends);
        ends
    }

    fn skip_blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn take_while(&mut self, belongs: impl Fn(&u8) -> bool) -> &'a str {
        let rest = &self.input[self.at..];
        let length = rest.bytes().position(|byte| !belongs(&byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn peek(&self) -> u8 {
        self.input.as_bytes()[self.at]
    }

    fn refuse(&mut self, reason: CanonicalReason) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(CanonicalFault { pointer: self.pointer(), reason });
        } else {
            self.more += 1;
        }
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for step in &self.path {
            match step {
                Step::Element(index) => push_token(&mut pointer, &index.to_string()),
                Step::Member(member) => push_token(&mut pointer, &self.members[*member].name),
            }
            if pointer.len() > MAX_POINTER_CHARACTERS {
                break;
            }
        }
        pointer
    }
}

/// Compares names by UTF-16 code units, as RFC 8785, section 3.2.3, requires. That differs from comparing code points:
/// characters beyond the basic plane come before U+E000.
fn by_utf16(one: &str, other: &str) -> Ordering {
    // Up to the first difference, both texts are the same in any encoding.
    let same = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let start = one.floor_char_boundary(same);
    one[start..].encode_utf16().cmp(other[start..].encode_utf16())
}
