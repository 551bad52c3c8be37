//! `awslogs-datetime-format`: strftime's codes in a regular expression. What is not a code is taken as it stands, so that
//! `\[%Y-%m-%d\]` means brackets, as Docker reads it.

/// Codes and what they match. AWS: the list is Docker's; `%L` is a point and three digits there.
const CODES: &[(char, &str)] = &[
    ('a', "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"),
    ('A', "(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)"),
    ('w', "[0-6]"),
    ('d', "(?:0[1-9]|[12][0-9]|3[01])"),
    ('b', "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"),
    ('B', "(?:January|February|March|April|May|June|July|August|September|October|November|December)"),
    ('m', "(?:0[1-9]|1[0-2])"),
    ('Y', "[0-9]{4}"),
    ('y', "[0-9]{2}"),
    ('H', "(?:[01][0-9]|2[0-3])"),
    ('I', "(?:0[0-9]|1[0-2])"),
    ('p', "[AP]M"),
    ('M', "[0-5][0-9]"),
    ('S', "[0-5][0-9]"),
    ('f', "[0-9]{6}"),
    ('z', "[+-][0-9]{4}"),
    ('Z', "[A-Z]{1,4}T"),
    ('j', "(?:[0-2][0-9]{2}|3[0-5][0-9]|36[0-6])"),
    ('L', "\\.[0-9]{3}"),
    ('%', "%"),
];

/// The regular expression of a format, or the code that does not exist. (Docker leaves such a code out, silently.)
pub(super) fn pattern(format: &str) -> Result<String, String> {
    let mut pattern = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            pattern.push(c);
            continue;
        }
        let code = rest.next();
        let known = CODES.iter().find(|(known, _)| Some(*known) == code);
        match known {
            Some((_, matches)) => pattern.push_str(matches),
            None => return Err(format!("%{}", code.map(String::from).unwrap_or_default())),
        }
    }
    Ok(pattern)
}
