//! The arithmetic of the op table: `+ - * /` (integer), parentheses, `ceil(x/y)`, symbols.

use std::collections::BTreeMap;

/// Values of symbols.
pub type Symbols = BTreeMap<String, i64>;

/// Value of a table expression such as `groups*n` or `ceil(v/8)`.
///
/// # Panics
/// On a syntax error or an unknown symbol: the table is wrong, and a test must stop.
pub fn evaluate(text: &str, symbols: &Symbols) -> i64 {
    let mut parser = Parser { text, rest: text, symbols };
    let value = parser.sum();
    assert!(parser.rest.trim().is_empty(), "{text:?}: what is {:?}?", parser.rest);
    value
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    symbols: &'a Symbols,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(token).map(|rest| self.rest = rest).is_some()
    }

    fn sum(&mut self) -> i64 {
        let mut value = self.product();
        loop {
            if self.take("+") {
                value += self.product();
            } else if self.take("-") {
                value -= self.product();
            } else {
                return value;
            }
        }
    }

    fn product(&mut self) -> i64 {
        let mut value = self.atom();
        loop {
            if self.take("*") {
                value *= self.atom();
            } else if self.take("/") {
                value /= self.atom();
            } else {
                return value;
            }
        }
    }

    fn atom(&mut self) -> i64 {
        if self.take("ceil(") {
            let value = self.product_over();
            assert!(self.take(")"), "{:?}: unclosed ceil", self.text);
            return value;
        }
        if self.take("(") {
            let value = self.sum();
            assert!(self.take(")"), "{:?}: unclosed parenthesis", self.text);
            return value;
        }
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.parse().ok().or_else(|| self.symbols.get(word).copied()).unwrap_or_else(|| panic!("{:?}: what is {word:?}?", self.text))
    }

    /// `x/y` inside a `ceil`, rounded up.
    fn product_over(&mut self) -> i64 {
        let over = self.atom();
        assert!(self.take("/"), "{:?}: ceil takes x/y", self.text);
        let under = self.atom();
        (over + under - 1).div_euclid(under)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_arithmetic() {
        let symbols = Symbols::from([("b".into(), 2), ("v".into(), 17), ("groups".into(), 3)]);
        assert_eq!(evaluate("8*b*(4+groups)-1", &symbols), 111);
        assert_eq!(evaluate("ceil(v/8)", &symbols), 3);
        assert_eq!(evaluate("0", &symbols), 0);
    }
}
