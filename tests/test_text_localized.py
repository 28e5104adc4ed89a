"""Numbers, dates, times, units and money as ten languages say them, and what is left to espeak."""

import subprocess
import sys

import pytest

from speech.text import LANGUAGES, text_to_phonemes
from speech.text.chunking import split_sentences
from speech.text.normalize import normalize
from speech.text.words import label_words

# fmt: off
SAID = {
    "de": [
        ("Am 12.5.2024 um 14:30 Uhr kostet es 5 €.", "Am zwölften Mai 2024 um 14 Uhr 30 kostet es 5 Euro."),
        ("Der 3. Mai 1984 war der 2. Tag.", "Der dritte Mai neunzehnhundertvierundachtzig war der zweite Tag."),
        ("Montag, 3. Mai, 9.15 Uhr", "Montag, dritter Mai, 9 Uhr 15"),
        ("12,50 €, $12.50, 1.200 € und 1 €", "12 Euro 50, 12 Dollar 50, 1200 Euro und ein Euro"),
        ("0,99 € oder 3,5 €", "99 Cent oder 3,5 Euro"),
        ("5 kg, 1 h, 2 h, 1 t, 80 km/h, 1,5 %", "5 Kilogramm, eine Stunde, 2 Stunden, eine Tonne, 80 Kilometer pro Stunde, 1,5 Prozent"),
        ("Bei -5 °C in 3-5 Tagen", "Bei minus 5 Grad Celsius in 3 bis 5 Tagen"),
        ("Bis zum 12.5. im 19. Jahrhundert", "Bis zum zwölften Mai im neunzehnten Jahrhundert"),
        ("Das war 2024 m. E. falsch, um 8 h, 8 h lang", "Das war 2024 m. E. falsch, um 8 Uhr, 8 Stunden lang"),
        ("vom 3. bis 5. Mai, 5 Mio. €, 3-mal", "vom dritten bis fünften Mai, 5 Mio. €, 3-mal"),
        ("Müller & Söhne: 3 + 4 = 7", "Müller und Söhne: 3 plus 4 gleich 7"),
        ("5 Std. lang, seit 1984 in Köln, 14:30-15:00 Uhr", "5 Stunden lang, seit neunzehnhundertvierundachtzig in Köln, 14 Uhr 30 bis 15 Uhr"),
    ],
    "fr": [
        ("Le 12/05/2024 à 14h30, 12,50 €.", "Le 12 mai 2024 à 14 heures 30, 12 euros 50."),
        ("le 1er mai, le 1 mai, la 1re fois, le 3e", "le premier mai, le premier mai, la première fois, le troisième"),
        ("1 h, 21 h, 2 min, 1,5 km", "une heure, vingt et une heures, 2 minutes, 1,5 kilomètre"),
        ("10 000 personnes, 3-5 jours, 50 %", "10000 personnes, 3 à 5 jours, 50 pour cent"),
        ("au XIXe siècle, -3 °C, 1 £", "au dix-neuvième siècle, moins 3 degrés Celsius, une livre"),
        ("Dupont & fils, $12.50", "Dupont et fils, 12 dollars 50"),
    ],
    "es": [
        ("El 12/05/2024 a las 14:30 costó 12,50 €.", "El 12 de mayo de 2024 a las 14 y 30 costó 12 euros con 50."),
        ("el 1º piso, el 1º de mayo, la 2ª vez, el 3.er día", "el primer piso, el primero de mayo, la segunda vez, el tercer día"),
        ("de 9:00 a 14:00, 31 €", "de 9 a 14, treinta y un euros"),
        ("a la 1:00, a las 21:00, a las 17:00 h", "a la una, a las veintiuna, a las 17 horas"),
        ("21 kg, 1 h, 200 £, 1 €", "veintiún kilogramos, una hora, doscientas libras, un euro"),
        ("3-5 días, -3 °C, 50 %, 80 km/h", "3 a 5 días, menos 3 grados Celsius, 50 por ciento, 80 kilómetros por hora"),
        ("En 2024 ha sido así, García & hijos", "En 2024 ha sido así, García e hijos"),
    ],
    "it": [
        ("Il 12/05/2024 alle 14:30 costa 12,50 €.", "Il 12 maggio 2024 alle 14 e 30 costa 12 euro e 50."),
        ("il 1° maggio, il 1/5/2024, il 2º, la 3ª", "il primo maggio, il primo maggio 2024, il secondo, la terza"),
        ("1 h, 2 h, 1 kg, 80 km/h, 50%", "un'ora, 2 ore, un chilogrammo, 80 chilometri orari, 50 per cento"),
        ("alle ore 14.30, all'1:30, 1.500 t", "alle ore 14 e 30, all'una e 30, 1500 tonnellate"),
        ("Rossi & figli a -5 °C", "Rossi e figli a meno 5 gradi Celsius"),
    ],
    "pt": [
        ("No dia 12/05/2024 às 14h30 custou 12,50 €.", "No dia 12 de maio de 2024 às 14 e 30 custou 12 euros e 50 cêntimos."),
        ("2 h, 1 h, 1ª vez, o 2º", "duas horas, uma hora, primeira vez, o segundo"),
        ("às 2:00, 3-5 dias, 50%, 2 kg", "às duas, 3 a 5 dias, 50 por cento, 2 quilogramas"),
        ("80 km/h, -5 °C, 200 £", "80 quilómetros por hora, menos 5 graus Celsius, duzentas libras"),
    ],
    "pt-br": [
        ("R$ 12,50 em 1/5/2024", "12 reais e 50 centavos em primeiro de maio de 2024"),
        ("80 km/h, US$ 1,20", "80 quilômetros por hora, 1 dólar e 20 centavos"),
    ],
    "nl": [
        ("Op 12-05-2024 om 14:30 uur kost het € 12,50.", "Op 12 mei 2024 om 14 uur 30 kost het 12 euro 50."),
        ("de 1e keer, de 2de, de 20ste", "de eerste keer, de tweede, de twintigste"),
        ("5 kg, 3 h, 80 km/u, 20 °C, 50%", "5 kilogram, 3 uur, 80 kilometer per uur, 20 graden Celsius, 50 procent"),
        ("om 14.30 uur, 3-5 dagen, Jan & Piet", "om 14 uur 30, 3 tot 5 dagen, Jan en Piet"),
    ],
    "pl": [
        ("12.05.2024 r. o 14:30 kosztuje 3,50 zł.", "dwunastego maja dwa tysiące dwudziestego czwartego roku o czternastej 30 kosztuje 3 złote 50 groszy."),
        ("3 maja, w 1984 r. Potem do 2000 roku", "trzeciego maja, w tysiąc dziewięćset osiemdziesiątym czwartym roku. Potem do dwutysięcznego roku"),
        ("W 2021 r.", "W dwa tysiące dwudziestym pierwszym roku."),
        ("1 h, 2 min, 5 min, 22 t, 3,5 kg, 5 kg", "jedna godzina, dwie minuty, 5 minut, dwadzieścia dwie tony, 3,5 kilograma, 5 kilogramów"),
        ("od 5 do 10 maja, ul. Długa 5 m. 3", "od piątego do dziesiątego maja, ul. Długa 5 m. 3"),
        ("o godz. 14.30, od 8:00 do 16:05", "o godzinie czternastej 30, od ósmej do szesnastej zero 5"),
        ("1 zł, 2 zł, 5 zł, 0,99 zł, 5 €, $12.50", "1 złoty, 2 złote, 5 złotych, 99 groszy, 5 euro, 12 dolarów 50 centów"),
        ("12 345 osób, -5 °C, 50%, Kowalski & syn", "12345 osób, minus 5 stopni Celsjusza, 50 procent, Kowalski i syn"),
    ],
    "ru": [
        ("12.05.2024 г. в 14:30 стоит 2,50 ₽.", "двенадцатого мая две тысячи двадцать четвёртого года в 14 30 стоит 2 рубля 50 копеек."),
        ("3 мая, в 1984 году, с 2000 г.", "третьего мая, в тысяча девятьсот восемьдесят четвёртом году, с двухтысячного года."),
        ("1 мин, 22 мин, 5 кг, 2 т, 80 км/ч", "одна минута, двадцать две минуты, 5 килограммов, две тонны, 80 километров в час"),
        ("100 руб., 1 руб. и 21,01 ₽", "100 рублей, 1 рубль и 21 рубль одна копейка"),
        ("3-й, 5-го, 2-я, в 21:00", "третий, пятого, вторая, в 21 час"),
        ("5 € & $2, -5 °C, 50%", "5 евро и 2 доллара, минус 5 градусов Цельсия, 50 процентов"),
        ("с 5 по 10 мая, 5 т. 3", "с пятого по десятое мая, 5 т. 3"),
        ("5 с половиной", "5 с половиной"),
    ],
    "sv": [
        ("Den 12 maj 2024 kl. 14.30 kostar det 12,50 kr.", "Den tolfte maj 2024 klockan 14 30 kostar det 12 kronor och 50 öre."),
        ("1:a, 3:e, 20:e, 2024-05-20", "första, tredje, tjugonde, tjugonde maj 2024"),
        ("1 h, 1 kg, 1 m, 1 kr, 3,5 %, 3,14", "en timme, 1 kilogram, en meter, en krona, 3 komma 5 procent, 3 komma 14"),
        ("kl 14:00, kl 14:05, 3-5 dagar, -5 °C", "klockan 14, klockan 14 noll 5, 3 till 5 dagar, minus 5 grader Celsius"),
    ],
    "tr": [
        ("12.05.2024 saat 14:30'da 12,50 ₺.", "12 Mayıs 2024 saat 14 30'da 12 lira 50 kuruş."),
        ("%50, 50%, 5 kg, 20 °C, 80 km/h", "yüzde 50, yüzde 50, 5 kilogram, 20 derece, saatte 80 kilometre"),
        ("100 TL'ye, ₺50, saat 9:00-17:00", "100 TL'ye, 50 lira, saat 9 17"),
        ("14:05, -5 °C, 3 + 4 = 7, Ali & Can", "14 sıfır 5, eksi 5 derece, 3 artı 4 eşittir 7, Ali ve Can"),
        ("5 TL, 5 €, 1.500 km", "5 lira, 5 avro, 1500 kilometre"),
    ],
    # of the others: what CLDR says without grammar of ours
    "fi": [("5 kg, 12,50 €, 12.5.2024, 14:30", "5 kilogrammaa, 12,50 euroa, 12.5.2024, 14:30")],
    "cs": [("3 kg, 5 kg, 1 Kč, 5 Kč, 2 s tebou", "3 kilogramy, 5 kilogramů, 1 koruna, 5 korun, 2 s tebou")],
    "nb": [("1 kr, 5 kr, 3 dager", "1 krone, 5 kroner, 3 dager")],
    "ca": [("5 km, 12/05/2024", "5 quilòmetres, 12 de maig del 2024")],
    "uk": [("5 кг, 2 год, 12.05.2024", "5 кілограмів, 2 год, 12.05.2024")],
}
# fmt: on
OTHERS = [code for code, language in LANGUAGES.items() if language.normalizer == "localized"]


@pytest.mark.parametrize(
    ("language", "written", "said"), [(code, *pair) for code, pairs in SAID.items() for pair in pairs]
)
def test_written_and_said(language, written, said):
    assert normalize(written, language) == said


@pytest.mark.parametrize(
    "language", ["de", "fr", "es", "it", "pt", "nl", "pl", "ru", "sv", "tr", "fi", "ja", "el"]
)
@pytest.mark.parametrize(
    "text",
    [
        "31.2.2024 2024-13-01",  # no such days
        "192.168.0.1 v1.2.3",
        "0123-456789 555-1234",
        "2-1 A4 B2B MP3 F-16",
        "25:10 1:2 10:15:20",
        "A&B C++ x=y",
        "",
    ],
)  # fmt: skip
def test_what_is_not_sure_stays(language, text):
    assert normalize(text, language) == text


@pytest.mark.parametrize("code", OTHERS)
def test_plain_text_is_only_tidied(code):
    assert normalize(LANGUAGES[code].sample, code) == normalize(LANGUAGES[code].sample, code, "generic")


@pytest.mark.parametrize("code", [*OTHERS, "cs", "fi", "es-419", "fr-ch"])
def test_no_language_fails(code):
    text = "5 kg 0 h 00:00 0 roku 0000 r. am 0. X 0-й 0e 0:e 1/1/1 $1 1$ 99:99 1º 0ª % & +1 = -1 1-2 1,5,6 1.000.000,5"
    assert normalize(text, code)
    assert normalize("1 " * 3000, code) and normalize("1." * 3000, code) and normalize("1" * 3000, code)


def test_a_voice_that_names_a_normaliser_keeps_it():
    assert normalize("5 kg", "de", "generic") == "5 kg"
    assert text_to_phonemes("5 kg", "de", "none") != text_to_phonemes("5 kg", "de")
    assert text_to_phonemes("5 kg", "de") == text_to_phonemes("fünf Kilogramm", "de")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Am 3. Mai um 14:30 Uhr kostet es 12,50 € für 5 kg & mehr."),
        ("fr", "Le 12/05/2024 à 14h30, il fait 20 °C."),
        ("es", "El 3-5 de mayo a las 14:30, el 1º piso."),
        ("it", "Il 1º maggio alle 14:30, per 2 h."),
        ("pt", "No dia 12/05/2024 às 14h30 custou 12,50 €."),
        ("nl", "Op 12-05-2024 om 14:30 uur kost het € 12,50."),
        ("pl", "W 2024 r. o 14:30 kupił 5 kg za 3,50 zł."),
        ("ru", "12 мая 2024 года в 14:30 было -5 °C, 80 км/ч."),
        ("sv", "Det kostar 12,50 kr & 3,5 kg kl. 14.30."),
        ("tr", "Saat 14:30'da 5 kg ve %50 indirim."),
    ],
)
def test_every_written_word_has_its_phonemes(language, text):
    phonemes = text_to_phonemes(text, language)
    words, labels = label_words(text, phonemes)
    assert len(words) == len(text.split()) and set(labels) - {None} == set(range(len(words)))
    assert all(text[word.start :].startswith(word.text) for word in words)
    heard = [label for label in labels if label is not None]
    assert heard == sorted(heard)


def test_a_date_is_heard_as_words():
    phonemes = text_to_phonemes("12.05.2024", "pl")
    assert phonemes == text_to_phonemes("dwunastego maja dwa tysiące dwudziestego czwartego roku", "pl")
    assert text_to_phonemes("Guten Tag. <pl>3,50 zł", "de").normalized == "Guten Tag. 3 złote 50 groszy"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Am 3. Mai kam er. Dann ging er.", 2),
        ("Am 12. April kam er.", 1),
        ("Im 19. Jahrhundert war es so. Heute nicht.", 2),
        ("Kom kl. 14.30. Välkommen!", 2),
        ("Spotkanie o godz. 14.30.", 1),
        ("I am 12. My brother is 14. August was hot.", 3),
        ("It was 1. He won by 2. The end.", 3),
    ],
)
def test_ordinals_do_not_end_sentences(text, sentences):
    assert len(split_sentences(text)) == sentences


def test_english_loads_no_babel():
    code = (
        "import sys; from speech.text import text_to_phonemes; text_to_phonemes('5 kg on 3/4/2025');"
        "text_to_phonemes('Guten Tag', 'de'); sys.exit('babel' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
