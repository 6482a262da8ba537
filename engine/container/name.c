// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <sys/random.h>

#include "container/container-internal.h"

/* Plain adjectives, and surnames of people who grew, studied or drew plants. */
static const char *const adjectives[] = {
    "able",    "agile",   "amber",  "ample",    "awake",  "bold",    "brave",   "breezy",   "bright",  "brisk",  "calm",    "candid", "careful",
    "cheery",  "clear",   "clever", "cosy",     "crisp",  "curious", "daring",  "deft",     "eager",   "early",  "earnest", "easy",   "fair",
    "fertile", "festive", "fleet",  "fond",     "frank",  "free",    "fresh",   "friendly", "gentle",  "giddy",  "glad",    "golden", "good",
    "grand",   "green",   "handy",  "happy",    "hardy",  "hearty",  "helpful", "honest",   "hopeful", "jolly",  "keen",    "kind",   "lively",
    "loyal",   "lucid",   "lucky",  "mellow",   "merry",  "mild",    "modest",  "neat",     "nimble",  "noble",  "patient", "peppy",  "placid",
    "plucky",  "polite",  "prompt", "proud",    "quick",  "quiet",   "rapid",   "ready",    "ripe",    "robust", "rosy",    "sage",   "serene",
    "sharp",   "shiny",   "silent", "sincere",  "smart",  "snug",    "sober",   "solid",    "spry",    "steady", "sturdy",  "sunny",  "swift",
    "tender",  "thrifty", "tidy",   "tranquil", "trusty", "upbeat",  "vivid",   "warm",     "wise",    "witty",  "young",   "zesty",
};
static const char *const surnames[] = {
    "adanson",    "agardh",   "allioni",   "anning",   "aublet",   "bailey",   "banks",      "bartram",   "bauhin",     "beal",     "bentham",
    "bessey",     "blume",    "boerhaave", "bonpland", "borlaug",  "bose",     "brongniart", "brown",     "brunfels",   "burbank",  "camerarius",
    "candolle",   "carver",   "cesalpino", "chase",    "clements", "clusius",  "colden",     "commelin",  "cook",       "cowles",   "cowley",
    "cuvier",     "darwin",   "dodoens",   "douglas",  "duhamel",  "eastwood", "eichler",    "endlicher", "engler",     "farrer",   "fortune",
    "fuchs",      "gaertner", "gerard",    "goethe",   "gray",     "grew",     "grisebach",  "hales",     "haller",     "hedwig",   "hofmeister",
    "hooker",     "humboldt", "ito",       "jekyll",   "jussieu",  "kaempfer", "kalm",       "kingdon",   "knight",     "lamarck",  "ledebour",
    "lindley",    "linnaeus", "lobel",     "loudon",   "magnol",   "makino",   "malpighi",   "masson",    "mcclintock", "mendel",   "merian",
    "michaux",    "mueller",  "nageli",    "north",    "nuttall",  "paxton",   "plumier",    "pursh",     "ray",        "redoute",  "rumphius",
    "sachs",      "sargent",  "schleiden", "sessions", "shiva",    "sibthorp", "smith",      "spruce",    "sprengel",   "thunberg", "tournefort",
    "tradescant", "tsvet",    "turner",    "vavilov",  "veitch",   "vries",    "wallich",    "warming",   "willdenow",
};

bool ctr_name_valid(const char *name) {
    size_t n = 0;

    for (; name[n]; n++) {
        unsigned char c = (unsigned char)name[n];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!alnum && (n == 0 || (c != '_' && c != '.' && c != '-')))
            return false;
    }
    return n >= 2;
}

void ctr_name_random(int attempt, char ret[64]) {
    uint32_t r[3] = {0};

    if (getrandom(r, sizeof(r), 0) != (ssize_t)sizeof(r))
        r[0] ^= (uint32_t)clock();
    if (attempt > 0)
        snprintf(ret, 64, "%s_%s%u", adjectives[r[0] % ELEMENTSOF(adjectives)], surnames[r[1] % ELEMENTSOF(surnames)], r[2] % 10);
    else
        snprintf(ret, 64, "%s_%s", adjectives[r[0] % ELEMENTSOF(adjectives)], surnames[r[1] % ELEMENTSOF(surnames)]);
}
