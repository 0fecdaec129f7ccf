//! Which two letters are a country. Owns the list of ISO 3166-1 alpha-2 as it stands in 2026, 249 codes, and what people
//! write instead of one; refuses codes that are only reserved (`UK`, `EU`) or free for users (`XX`, `ZZ`).

/// Every code, in order.
const CODES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI \
    BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN \
    CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK \
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM \
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN \
    KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK \
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP \
    NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW \
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF \
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI \
    VN VU WF WS YE YT ZA ZM ZW";

/// What is written for a country and is none, with what is meant.
const MEANT: &[(&str, &str)] = &[
    ("UK", "did you mean `GB`?"),
    ("EN", "did you mean `GB`?"),
    ("EL", "did you mean `GR`?"),
    ("EU", "name each country, as in `[DE, NL]`: the union is no jurisdiction of a region"),
    ("SU", "did you mean `RU`?"),
    ("YU", "did you mean `RS`?"),
    ("XK", "Kosovo has no code of ISO 3166-1: name the law that holds, as in `AL` or `RS`"),
];

/// Whether `code` is one.
pub(super) fn is_country(code: &str) -> bool {
    CODES.split_ascii_whitespace().any(|c| c == code)
}

/// What to write instead of `given`.
pub(super) fn instead(given: &str) -> String {
    let upper = given.to_ascii_uppercase();
    if is_country(&upper) {
        return format!("write it in upper case: `{upper}`");
    }
    MEANT.iter().find(|(code, _)| *code == upper).map_or_else(
        || "write a code of ISO 3166-1, two upper-case letters, as in `DE`".to_owned(),
        |(_, mend)| (*mend).to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_nothing_else_passes() {
        let codes: Vec<&str> = CODES.split_ascii_whitespace().collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.windows(2).all(|w| w[0] < w[1]) && codes.iter().all(|c| c.len() == 2));
        for good in ["DE", "NL", "US", "SG", "BE", "GB", "CH"] {
            assert!(is_country(good), "{good}");
        }
        for bad in ["XX", "UK", "EU", "ZZ", "de", "DEU", "", "D"] {
            assert!(!is_country(bad), "{bad}");
        }
        assert_eq!(instead("UK"), "did you mean `GB`?");
        assert_eq!(instead("de"), "write it in upper case: `DE`");
    }
}
