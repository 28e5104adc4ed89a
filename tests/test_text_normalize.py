"""What is written, and what is said: the normalisers."""

import pytest

from speech.text.normalize import NORMALIZERS, normalize

# fmt: off
ENGLISH = [
    # numbers
    ("It has 3 legs.", "It has three legs."),
    ("1,234,567 people", "one million two hundred and thirty-four thousand five hundred and sixty-seven people"),
    ("3.14159", "three point one four one five nine"),
    ("0.5 and .25", "zero point five and point two five"),
    ("-7 degrees", "minus seven degrees"),
    ("agent 007", "agent zero zero seven"),
    ("12345678901234567890", "one two three four five six seven eight nine zero " * 2),
    ("1 000 000 of them", "one million of them"),
    ("6.02×10²³", "six point zero two times ten to the power of twenty-three"),
    ("1.5e-3", "one point five times ten to the power of minus three"),
    ("x² + y³", "x squared plus y cubed"),
    ("10^5 or 2⁻⁴", "ten to the power of five or two to the power of minus four"),
    ("version 3.11.7", "version three point eleven point seven"),
    ("192.168.0.1", "one hundred and ninety-two dot one hundred and sixty-eight dot zero dot one"),
    ("MP3, B2B and H₂O", "MP three, B two B and H two O"),
    ("GPT-4, F-16 and A4", "GPT four, F sixteen and A- four"),
    ("a 10-year-old", "a ten year-old"),
    ("Room 101, Flight 747", "Room one oh one, Flight seven forty-seven"),
    ("at 602 Elsbeth Street", "at six oh two Elsbeth Street"),
    ("No. 5, Nos. 6 and 7, #8", "number five, numbers six and seven, number eight"),
    ("pp. 10–12, p. 5, Fig. 3, Vol. 2", "pages ten to twelve, page five, figure three, volume two"),
    # ordinals, fractions, ranges
    ("the 1st, 22nd, 33rd and 104th", "the first, twenty-second, thirty-third and one hundred and fourth"),
    ("½ cup, 3/4 cup", "one half cup, three quarters cup"),
    ("2 1/2 or 3½ pints", "two and a half or three and a half pints"),
    ("5/16 of 22/7", "five sixteenths of twenty-two over seven"),
    ("open 24/7 since 9/11", "open twenty-four seven since nine eleven"),
    ("10-20 people", "ten to twenty people"),
    ("3.5–4.5 times", "three point five to four point five times"),
    # money
    ("It costs $13.87.", "It costs thirteen dollars and eighty-seven cents."),
    ("£170,000 or £1.2bn", "one hundred and seventy thousand pounds or one point two billion pounds"),
    ("$1, $1.01, $0.99", "one dollar, one dollar and one cent, ninety-nine cents"),
    ("$1.5 million", "one point five million dollars"),
    ("20 €, €20 and 20€", "twenty euros, twenty euros and twenty euros"),
    ("a $20 bill, US$40", "a twenty dollar bill, forty US dollars"),
    ("$10–20 or 50¢", "ten to twenty dollars or fifty cents"),
    ("-$5 and USD 100", "minus five dollars and one hundred US dollars"),
    ("¥500, ₹1", "five hundred yen, one rupee"),
    # dates and years
    ("On May 5, 2024, he left.", "On May fifth, twenty twenty-four, he left."),
    ("5 May 2024", "the fifth of May twenty twenty-four"),
    ("The 2nd of February", "The second of February"),
    ("Sept. 11, 2001", "September eleventh, two thousand and one"),
    ("2024-05-17", "May seventeenth, twenty twenty-four"),
    ("5/17/2024", "May seventeenth, twenty twenty-four"),
    ("17.05.2024", "the seventeenth of May, twenty twenty-four"),
    ("Mon., Jan. 3, 2022", "Monday, January third, twenty twenty-two"),
    ("in 1984 and 1905", "in nineteen eighty-four and nineteen oh five"),
    ("1900, 2000, 2005, 2010", "nineteen hundred, two thousand, two thousand and five, twenty ten"),
    ("the 1990s, the '60s, mid-1980s", "the nineteen nineties, the sixties, mid-nineteen eighties"),
    ("1939-45", "nineteen thirty-nine to forty-five"),
    ("1990–1995", "nineteen ninety to nineteen ninety-five"),
    ("the class of '98", "the class of ninety-eight"),
    ("ca. 1850", "circa eighteen fifty"),
    ("in 44 B.C.", "in forty-four BC."),
    # times
    ("at 12:45 p.m.", "at twelve forty-five PM."),
    ("the 10:30 train", "the ten thirty train"),
    ("5pm, 5 p.m. today", "five PM, five PM today"),
    ("12:00, 7:05, 14:05", "twelve o'clock, seven oh five, fourteen oh five"),
    ("2:15-3:30 pm", "two fifteen to three thirty PM"),
    ("7:05:09", "seven oh five and nine seconds"),
    ("a ratio of 16:9", "a ratio of sixteen to nine"),
    ("He came at 5 p.m. He left.", "He came at five PM. He left."),
    # measures
    ("5 km, 1 kg, 60 mph", "five kilometers, one kilogram, sixty miles per hour"),
    ("20°C, -5°C, 98.6°F", "twenty degrees Celsius, minus five degrees Celsius, ninety-eight point six degrees Fahrenheit"),
    ("50% of 5-10%", "fifty percent of five to ten percent"),
    ("3.5 GHz and 16GB", "three point five gigahertz and sixteen gigabytes"),
    ("She is 5'10\" tall.", "She is five feet ten inches tall."),
    ("a 5-km run", "a five kilometer run"),
    ("9.8 m/s², 100 km/h", "nine point eight meters per second squared, one hundred kilometers per hour"),
    ("3 x 4 cm, 5x7", "three by four centimeters, five by seven"),
    ("40°26'46\"N", "forty degrees twenty-six minutes forty-six seconds north"),
    ("1 in. of rain", "one inch of rain"),
    # telephone numbers
    ("Call (555) 123-4567.", "Call five five five, one two three, four five six seven."),
    ("1-800-555-1234", "one, eight zero zero, five five five, one two three four"),
    ("+44 20 7946 0958", "plus four four, two zero, seven nine four six, zero nine five eight"),
    # Roman numerals
    ("Chapter IV", "Chapter four"),
    ("Henry VIII and Louis XIV's court", "Henry the eighth and Louis the fourteenth's court"),
    ("World War II", "World War two"),
    ("King Charles I was", "King Charles the first was"),
    ("Robert I. Bouck, Henry M. Wade", "Robert I Bouck, Henry M Wade"),
    ("I think the chapter I read", "I think the chapter I read"),
    ("Rocky III", "Rocky three"),
    ("James II., whose", "James the second, whose"),
    ("INCOME AS A SERIES OF PARTS", "income as a series of parts"),
    # abbreviations, acronyms
    ("Mr. Smith met Mrs. Jones.", "Mister Smith met Missus Jones."),
    ("Dr. Who of Elm Dr., aged 9", "Doctor Who of Elm Drive, aged nine"),
    ("St. John at 123 Main St. in town", "Saint John at one twenty-three Main Street in town"),
    ("J. R. R. Tolkien and A. A. Milne", "J R R Tolkien and A- A- Milne"),
    ("Plan B. Then we go.", "Plan B. Then we go."),
    ("e.g. this, i.e. that", "for example, this, that is, that"),
    ("apples, pears, etc. Then we left.", "apples, pears, et cetera. Then we left."),
    ("Smith Jr. and Acme Inc.", "Smith Junior and Acme Incorporated."),
    ("the U.S. is", "the US is"),
    ("a Ph.D. in D.C.", "a P H D in DC."),
    ("cats vs. dogs", "cats versus dogs"),
    ("NASA and the FBI", "NASA and the FBI"),
    ("the ACLU's JPEG", "the A- C L U's jay peg"),
    ("I SAID NO TO YOU AND IT WAS ALL OUT OF US", "I said no to you and it was all out of us"),
    # addresses, signs
    ("https://www.example.com/a-b?x=1", "w w w dot example dot com slash a dash b question mark x equals one"),
    ("see example.org.", "see example dot org."),
    ("Mail john.doe@example.co.uk!", "Mail john dot doe at example dot co dot U K!"),
    ("node.js and config.json", "node dot js and config dot json"),
    ("AT&T, R&D", "AT and T, R and D"),
    ("50 + 3 = 53", "fifty plus three equals fifty-three"),
    ("and/or, w/o, w/ you, n/a", "and or, without, with you, N A-"),
    ("*bold*, **strong**, _it_", "bold, strong, it"),
    ("~5 @user #tag", "about five at user hash tag"),
    ("C++ & C#, in F# minor", "C plus plus and C sharp, in F sharp minor"),
    ("x <= 5 != y, a >= 2", "x less than or equal to five is not equal to y, a greater than or equal to two"),
    ("10°C–20°C or 5%-10%, 3kg-4 kg", "ten to twenty degrees Celsius or five to ten percent, three to four kilograms"),
    ("α, β and Ω5", "alpha, beta and omega five"),
    ("§5 → ™", "section five to trademark"),
    # what people type
    ("x^2 + y^3, 10^6 and 2^-3", "x squared plus y cubed, ten to the power of six and two to the power of minus three"),
    ("0x1F and 0xa0", "zero X one F and zero X A- zero"),
    ("3bn people, 1.5 mn more", "three billion people, one point five million more"),
    ("Mon-Fri, Sat. - Sun. only", "Monday to Friday, Saturday to Sunday only"),
    ("s/he took his/her coat", "she or he took his or her coat"),
    ("in 45 s, in the 80s", "in forty-five seconds, in the eighties"),
    ("5 ft. 3 in. tall, 1 ft 1 in", "five feet three inches tall, one foot one inch"),
    ('a 3.5" disk of 3.5" or', "a three point five inch disk of three point five inches or"),
    ("Fine :-) she said ;)", "Fine she said"),
    ("the battle in 1066, with 1066 men", "the battle in ten sixty-six, with one thousand and sixty-six men"),
    ("in 1050 cases", "in one thousand and fifty cases"),
    # punctuation and characters
    ("It (really) is. [So]", "It, really, is. So"),
    ("No--never – ever—yes", "No — never — ever — yes"),
    ("it’s ‘fine’", "it's 'fine'"),
    ("Well, ", "Well,"),
    ("ＡＢＣ １２３ ﬁne", "ABC one hundred and twenty-three fine"),
    ("a\u200bb\u00ad c", "ab c"),
    ("٣ and e\u0301", "three and é"),
    ("don't, o'clock, '90s, rock 'n' roll", "don't, o'clock, nineties, rock 'n' roll"),
    ("  many\n\twhite \u3000 spaces ", "many white spaces"),
]
# fmt: on


@pytest.mark.parametrize(("written", "said"), ENGLISH)
def test_english(written, said):
    assert normalize(written) == said.strip()


def test_english_leaves_no_digit_behind():
    for written, _ in ENGLISH:
        assert not any(character.isdigit() for character in normalize(written)), written


def test_english_is_stable():
    """Words stay as they are when they are normalised again."""
    for written, said in ENGLISH:
        if "A-" not in said:
            assert normalize(normalize(written)) == normalize(written)


def test_british_dates_start_with_the_day():
    assert normalize("3/4/2025", "en-us") == "March fourth, twenty twenty-five"
    assert normalize("3/4/2025", "en-gb") == "the third of April, twenty twenty-five"
    assert normalize("2025-04-03", "en-gb") == "the third of April, twenty twenty-five"


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("de", "Es kostet 3,50 € – „toll“!", 'Es kostet 3,50 € — "toll“!'),
        ("zh", "你好，世界。", "你好, 世界."),
        ("ja", "「こんにちは」、せかい！", "«こんにちは», せかい!"),
        ("hi", "नमस्ते दुनिया।", "नमस्ते दुनिया."),
        ("ar", "مرحبا، ٣؟", "مرحبا, 3?"),
        ("fr", "1\u202f000 œufs", "1000 œufs"),
    ],
)
def test_generic_leaves_words_and_numbers_to_espeak(language, written, said):
    assert normalize(written, language, "generic") == said


def test_generic_keeps_joiners_that_spell():
    assert normalize("می\u200cخواهم a\u200cb", "fa") == "می\u200cخواهم ab"


def test_published_cleaner():
    assert normalize("Mrs. Café met DR. Ft.  Worth,\nCo.", normalizer="english_cleaners2") == (
        "misess cafe met doctor fort worth, company"
    )
    assert normalize("3.5 Dollars (OK)", normalizer="english_cleaners2") == "3.5 dollars (ok)"


def test_none_changes_nothing():
    assert normalize(" 5 €\n", normalizer="none") == " 5 €\n"


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown normalizer 'x': known are english, localized, generic"):
        normalize("a", normalizer="x")
    with pytest.raises(ValueError, match="unknown language"):
        normalize("a", "no-such-language")
    assert set(NORMALIZERS) == {"english", "localized", "generic", "english_cleaners2", "none"}


@pytest.mark.parametrize("name", sorted(NORMALIZERS))
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\0\x07",
        "\ud800",
        "😀👩‍👩‍👧🏽",
        "...",
        "((()))",
        "'\"“",
        "1" * 5000,
        "$€£",
        "-",
        "99999999999/0 1/0",
        "IIII MMMM",
    ],
)
def test_odd_text_never_crashes(name, text):
    assert isinstance(normalize(text, normalizer=name), str)
