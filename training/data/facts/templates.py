"""Every kind of question in the quiz, one table entry each."""

from __future__ import annotations

from uq4ct.training.data.facts.relation import Relation

_COUNTRIES = (
    Relation(
        "capitals",
        "countries",
        "country",
        "capital",
        ("What is the capital of {}?", "Which city is the capital of {}?"),
        "region",
    ),
    Relation(
        "capitals",
        "countries",
        "capital",
        "country",
        ("Which country has the capital {}?", "{} is the capital of which country?"),
        "region",
    ),
    Relation("countries", "countries", "country", "continent", ("On which continent is {}?",)),
    Relation("countries", "countries", "country", "currency", ("What is the currency of {} called?",), "region"),
    Relation("countries", "countries", "currency", "country", ("In which country is the {} the currency?",), "region"),
    Relation("countries", "countries", "country", "language", ("Which of these is an official language of {}?",)),
    Relation("countries", "countries", "language", "country", ("In which country is {} an official language?",)),
    Relation(
        "countries",
        "countries",
        "country",
        "adjective",
        ("Which adjective describes something that comes from {}?",),
        "region",
    ),
    Relation("countries", "countries", "adjective", "country", ("Something {} comes from which country?",), "region"),
    Relation("codes", "countries", "country", "iso", ("What is the two-letter ISO country code of {}?",), "region"),
    Relation("codes", "countries", "iso", "country", ("Which country has the two-letter ISO code {}?",), "region"),
    Relation("codes", "countries", "country", "calling", ("What is the international calling code of {}?",)),
)

_PLACES = (
    Relation("us states", "states", "state", "capital", ("What is the capital of the US state of {}?",), "region"),
    Relation("us states", "states", "capital", "state", ("{} is the capital of which US state?",), "region"),
    Relation(
        "us states", "states", "state", "abbreviation", ("What is the postal abbreviation of the US state of {}?",)
    ),
    Relation("us states", "states", "abbreviation", "state", ("Which US state has the postal abbreviation {}?",)),
    Relation("geography", "cities", "city", "country", ("In which country is the city of {}?",), "region"),
    Relation("geography", "landmarks", "landmark", "country", ("In which country would you find {}?",), "region"),
    Relation("geography", "features", "feature", "continent", ("On which continent would you find the {}?",)),
    Relation("geography", "mountains", "mountain", "country", ("In which country is {}?",)),
    Relation("geography", "dishes", "dish", "country", ("From which country does the dish {} come?",)),
)

_SCIENCE = (
    Relation(
        "chemistry",
        "elements",
        "element",
        "symbol",
        ("What is the chemical symbol of {}?", "Which chemical symbol stands for {}?"),
    ),
    Relation(
        "chemistry",
        "elements",
        "symbol",
        "element",
        ("Which chemical element has the symbol {}?", "{} is the symbol of which chemical element?"),
    ),
    Relation("chemistry", "elements", "element", "number", ("What is the atomic number of {}?",), "period"),
    Relation("chemistry", "elements", "number", "element", ("Which element has the atomic number {}?",), "period"),
    Relation("chemistry", "elements", "element", "category", ("To which family of elements does {} belong?",)),
    Relation("chemistry", "elements", "element", "state", ("In which state is pure {} at room temperature?",)),
    Relation("chemistry", "compounds", "compound", "formula", ("What is the chemical formula of {}?",)),
    Relation("chemistry", "compounds", "formula", "compound", ("Which substance has the formula {}?",)),
    Relation("astronomy", "moons", "moon", "body", ("Which planet or dwarf planet does the moon {} orbit?",)),
    Relation(
        "astronomy", "planets", "planet", "place", ("What is the place of {} among the planets, counted from the Sun?",)
    ),
    Relation("astronomy", "planets", "place", "planet", ("Which planet is the {} from the Sun?",)),
    Relation("astronomy", "planets", "trait", "planet", ("Which planet of the Solar System is {}?",)),
    Relation("astronomy", "constellations", "constellation", "meaning", ("What does the constellation {} represent?",)),
    Relation("astronomy", "constellations", "meaning", "constellation", ("Which constellation represents {}?",)),
    Relation("astronomy", "stars", "star", "constellation", ("In which constellation is the star {}?",)),
    Relation("measurement", "units", "unit", "quantity", ("Which quantity is measured in the unit {}?",)),
    Relation("measurement", "units", "quantity", "unit", ("Which of these is a unit of {}?",)),
    Relation("measurement", "units", "unit", "symbol", ("What is the symbol of the unit {}?",)),
    Relation("measurement", "units", "symbol", "unit", ("Which unit has the symbol {}?",)),
    Relation("measurement", "prefixes", "prefix", "factor", ("What does the metric prefix {} stand for?",)),
    Relation("measurement", "prefixes", "factor", "prefix", ("Which metric prefix stands for {}?",)),
    Relation("measurement", "prefixes", "prefix", "symbol", ("What is the symbol of the metric prefix {}?",)),
    Relation("measurement", "prefixes", "symbol", "prefix", ("Which metric prefix has the symbol {}?",)),
    Relation("measurement", "numerals", "number", "roman", ("How is {} written in Roman numerals?",), "size"),
    Relation("measurement", "numerals", "roman", "number", ("Which number is the Roman numeral {}?",), "size"),
    Relation("measurement", "polygons", "shape", "sides", ("How many sides does {a} have?",)),
    Relation("measurement", "polygons", "sides", "shape", ("What is a shape with {} straight sides called?",)),
    Relation("animals", "animals", "animal", "class", ("What kind of animal is {a}?",)),
    Relation("animals", "young", "animal", "young", ("What is a young {} called?",)),
    Relation("animals", "young", "young", "animal", ("{A} is the young of which animal?",)),
    Relation("animals", "young", "animal", "male", ("What is a male {} called?",)),
    Relation("animals", "young", "male", "animal", ("{A} is the male of which animal?",)),
    Relation("animals", "young", "animal", "female", ("What is a female {} called?",)),
    Relation("animals", "young", "female", "animal", ("{A} is the female of which animal?",)),
    Relation("animals", "young", "animal", "home", ("What is the home of {a} called?",)),
    Relation("animals", "young", "home", "animal", ("{A} is the home of which animal?",)),
    Relation("animals", "adjectives", "animal", "adjective", ("Which adjective means 'like {a}'?",)),
    Relation("animals", "adjectives", "adjective", "animal", ("Which animal does the adjective '{}' refer to?",)),
    Relation("animals", "species", "animal", "species", ("What is the scientific name of the {}?",)),
    Relation("animals", "species", "species", "animal", ("Which animal has the scientific name {}?",)),
)

_CULTURE = (
    Relation("literature", "books", "work", "author", ("Who wrote '{}'?", "Who is the author of '{}'?"), "language"),
    Relation("literature", "books", "author", "work", ("Which of these was written by {}?",), "language"),
    Relation("arts", "music", "work", "composer", ("Who composed '{}'?",)),
    Relation("arts", "music", "composer", "work", ("Which of these was composed by {}?",)),
    Relation("arts", "paintings", "work", "artist", ("Who painted '{}'?",)),
    Relation("arts", "paintings", "artist", "work", ("Which of these was painted by {}?",)),
    Relation("history", "events", "event", "year", ("In which year was the {}?",), "era"),
    Relation("history", "events", "year", "event", ("Which of these took place in {}?",)),
    Relation("history", "people", "deed", "person", ("Who {}?",), "kind"),
    Relation("history", "people", "person", "deed", ("Complete the sentence: {} ...",), "kind"),
    Relation("mythology", "gods", "deity", "domain", ("In Greek mythology, what was {} the god or goddess of?",)),
    Relation("mythology", "gods", "domain", "deity", ("In Greek mythology, who was the god or goddess of {}?",)),
    Relation("mythology", "gods", "deity", "roman", ("By which name did the Romans know {}?",)),
    Relation("mythology", "gods", "roman", "deity", ("By which name did the Greeks know {}?",)),
)

_WORDS = (
    Relation("words", "opposites", "word", "opposite", ("What is the opposite of '{}'?",), "kind"),
    Relation("words", "opposites", "opposite", "word", ("What is the opposite of '{}'?",), "kind"),
    Relation("words", "ologies", "science", "field", ("What is studied in {}?",)),
    Relation("words", "ologies", "field", "science", ("What is the study of {} called?",)),
    Relation("words", "phobias", "phobia", "fear", ("What is {} the fear of?",)),
    Relation("words", "phobias", "fear", "phobia", ("What is the fear of {} called?",)),
    Relation("words", "acronyms", "acronym", "meaning", ("What does the abbreviation {} stand for?",), "kind"),
    Relation("words", "acronyms", "meaning", "acronym", ("What is the usual abbreviation of '{}'?",), "kind"),
    Relation("everyday life", "occupations", "occupation", "work", ("What does {a} do?",)),
    Relation("everyday life", "occupations", "work", "occupation", ("Who {} for a living?",)),
    Relation("everyday life", "tools", "tool", "use", ("What would you use {} for?",)),
    Relation("everyday life", "tools", "use", "tool", ("What would you use for {}?",)),
)

_SHIFT = (
    Relation("anatomy", "organs", "organ", "function", ("Which of these is a main task of {}?",)),
    Relation("anatomy", "organs", "function", "organ", ("Which part of the body is responsible for {}?",)),
    Relation("anatomy", "bones", "part", "place", ("In which part of the body would you find the {}?",)),
    Relation("anatomy", "specialists", "specialist", "field", ("In what does {a} specialise?",)),
    Relation("anatomy", "specialists", "field", "specialist", ("Which doctor or therapist specialises in {}?",)),
    Relation("anatomy", "conditions", "condition", "part", ("Which part of the body is affected by {}?",)),
    *(
        relation
        for language in ("french", "spanish", "german", "italian")
        for relation in (
            Relation(
                "translation", "words", "english", language, (f"What is the {language.title()} for '{{}}'?",), "kind"
            ),
            Relation(
                "translation",
                "words",
                language,
                "english",
                (f"What does the {language.title()} word '{{}}' mean?",),
                "kind",
            ),
        )
    ),
)

RELATIONS = (*_COUNTRIES, *_PLACES, *_SCIENCE, *_CULTURE, *_WORDS, *_SHIFT)
