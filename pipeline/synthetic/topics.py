"""The eight hidden topics that everything in the sample follows."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, floor, pi, sin

from pipeline.synthetic import motifs

# Time, which runs about from 0 to 1 → centre (x, y) as shares of the frame, and scale.
Motion = Callable[[float], tuple[float, float, float]]


@dataclass(frozen=True)
class Timbre:
    """How a topic sounds."""

    pitch: tuple[float, float]  # range of the root note, Hz
    harmonics: tuple[float, ...]  # amplitude of each partial, the fundamental first
    note: float  # seconds from one note to the next
    attack: float  # seconds until a note is at its loudest
    decay: float  # how fast it fades after that, 1 / seconds
    hiss: float  # amplitude of the noise; 1 is as loud as a note


@dataclass(frozen=True)
class Topic:
    """What the items of one topic say, look like and sound like, and how they move.

    The words are lists whose entries are separated by "|".
    """

    name: str
    label: str  # what texts call the topic
    adjectives: str  # a title is an adjective, a noun, and sometimes a tail
    nouns: str
    tails: str
    leads: str  # what may follow a title; {x} and {y} stand for two of the details
    details: str
    palette: str  # five colours: two of the backdrop, then three of the motif
    motif: motifs.Motif
    timbre: Timbre
    motion: Motion


TOPICS: tuple[Topic, ...] = (
    Topic(
        name="jazz",
        label="jazz",
        adjectives="Midnight|Smoky|Velvet|Restless|Blue|Uptown|Golden|Lazy",
        nouns="Saxophone|Quartet|Trumpet|Bassline|Ballad|Jam Session|Piano Trio|Swing",
        tails="in Harlem|at the Corner Club|after Hours|on Vinyl",
        leads="is a late set for {x} and {y}|captures {x} trading phrases with {y}|"
        "is a live recording built around {x}|opens with {x} and closes on {y}",
        details="a muted trumpet|brushed drums|a walking bass|a tenor saxophone|an unhurried piano|"
        "scat singing|a swinging rhythm section|smooth improvised solos",
        palette="#2b1330 #7a2f3d #1b1020 #e8a33d #f3d9a4",
        motif=motifs.record,
        timbre=Timbre(
            pitch=(220, 440),
            harmonics=(1, 0.6, 0.5, 0.3, 0.2, 0.1),
            note=0.22,
            attack=0.02,
            decay=3,
            hiss=0.01,
        ),
        motion=lambda t: (0.5 + 0.3 * sin(2 * pi * t), 0.6 - 0.15 * abs(cos(2 * pi * t)), 1),
    ),
    Topic(
        name="ocean",
        label="ocean life",
        adjectives="Deep|Coral|Drifting|Silver|Tidal|Turquoise|Salty|Silent",
        nouns="Reef|Current|Lagoon|Voyage|Whale Song|Harbour|Dive|Shoreline",
        tails="off Tasmania|below the Surface|at High Tide|of the South Pacific",
        leads="follows {x} through cold and clear water|is a quiet dive among {x} and {y}|"
        "sails out to meet {x}|is a portrait of the sea, from {x} to {y}",
        details="humpback whales|swaying kelp|coral gardens|shoals of silver fish|rolling waves|"
        "sea turtles|tide pools|glowing jellyfish",
        palette="#0b4f6c #5fc9d8 #f7b267 #f4845f #e0fbfc",
        motif=motifs.fish,
        timbre=Timbre(
            pitch=(60, 110), harmonics=(1, 0.2), note=1.2, attack=0.5, decay=0.8, hiss=0.25
        ),
        motion=lambda t: (t % 1, 0.5 + 0.12 * sin(4 * pi * t), 1),
    ),
    Topic(
        name="space",
        label="space travel",
        adjectives="Distant|Orbital|Lunar|Stellar|Infinite|Cosmic|Frozen|Red",
        nouns="Orbit|Nebula|Horizon|Launch|Telescope|Moonrise|Probe|Galaxy",
        tails="beyond Saturn|at Zero Gravity|of the Outer Planets|over Mars",
        leads="is a slow flight past {x}|looks back at {x} from very far away|"
        "charts a course between {x} and {y}|explains {x} to curious stargazers",
        details="the rings of Saturn|a comet's tail|spiral galaxies|the far side of the Moon|"
        "a lonely space station|newborn stars|the dust of Mars|astronauts in orbit",
        palette="#0a0a2a #372a6b #b8a1e3 #ffd6a5 #ffffff",
        motif=motifs.planet,
        timbre=Timbre(
            pitch=(300, 600), harmonics=(1, 0, 0.1), note=1.0, attack=0.4, decay=0.5, hiss=0.02
        ),
        motion=lambda t: (0.5, 0.5, 0.4 + 0.9 * (t % 1)),
    ),
    Topic(
        name="cooking",
        label="cooking",
        adjectives="Rustic|Spicy|Simmering|Sunday|Crispy|Homemade|Buttery|Smoked",
        nouns="Kitchen|Stew|Supper|Flatbread|Risotto|Pantry|Tart|Noodle Bowl",
        tails="from Naples|with Lemon|by the Fireside|for Two",
        leads="is a weekend recipe with {x} and {y}|starts with {x} and finishes with {y}|"
        "is a warm plate that owes everything to {x}|teaches the patience that {x} deserves",
        details="slow-roasted tomatoes|fresh basil|a simmering broth|toasted cumin|crusty bread|"
        "caramelised onions|handmade pasta|browned butter",
        palette="#f6d8ae #e07a5f #9b2226 #fff3e0 #3d405b",
        motif=motifs.pot,
        timbre=Timbre(
            pitch=(500, 900), harmonics=(1, 0, 0, 0.5), note=0.1, attack=0.002, decay=25, hiss=0.1
        ),
        motion=lambda t: (0.5 + 0.05 * sin(6 * pi * t), 1 - t % 1, 1),
    ),
    Topic(
        name="football",
        label="football",
        adjectives="Last-Minute|Winning|Fearless|Underdog|Rainy|Golden-Goal|Sunlit|Roaring",
        nouns="Derby|Penalty|Kickoff|Striker|Comeback|Cup Final|Goalkeeper|Season",
        tails="at Wembley|in Extra Time|under Floodlights|away from Home",
        leads="relives {x} and {y} from the touchline|is a match story about {x}|"
        "builds from {x} to {y}|follows a small team that lives for {x}",
        details="a curling free kick|a packed stadium|a saved penalty|tireless midfielders|"
        "a last-minute header|the roar of the crowd|a daring counter-attack|muddy boots",
        palette="#1b7a3d #6cc24a #ffffff #1d2b1f #f4d35e",
        motif=motifs.ball,
        timbre=Timbre(
            pitch=(90, 180),
            harmonics=(1, 0.7, 0.5, 0.5, 0.4),
            note=0.35,
            attack=0.005,
            decay=12,
            hiss=0.15,
        ),
        motion=lambda t: (2 * t % 1, 0.85 - 0.65 * abs(sin(3 * pi * t)), 0.8),
    ),
    Topic(
        name="gardening",
        label="gardening",
        adjectives="Wild|Blooming|Secret|Morning|Climbing|Sheltered|Cottage|Evergreen",
        nouns="Garden|Meadow|Greenhouse|Rose Bed|Orchard|Herb Patch|Seedling|Hedge",
        tails="in Early Spring|behind the Wall|for Small Balconies|after the Rain",
        leads="is a season's diary of {x} and {y}|shows how to raise {x} from seed|"
        "wanders past {x} towards {y}|makes room for {x} in the smallest of plots",
        details="climbing roses|rich compost|lavender borders|heirloom seeds|pruned apple trees|"
        "foxgloves and ferns|sun-warmed herbs|bees in the clover",
        palette="#d8f3dc #95d5b2 #e56b9f #ffca3a #2d6a4f",
        motif=motifs.flower,
        timbre=Timbre(
            pitch=(900, 1600), harmonics=(1, 0.1), note=0.16, attack=0.01, decay=8, hiss=0.03
        ),
        motion=lambda t: (0.5, 0.7 - 0.3 * (t % 1), 0.3 + 0.8 * (t % 1)),
    ),
    Topic(
        name="robots",
        label="robotics",
        adjectives="Curious|Clockwork|Electric|Tireless|Tiny|Self-Taught|Chrome|Friendly",
        nouns="Robot|Android|Workshop|Automaton|Circuit|Machine|Drone|Prototype",
        tails="from Osaka|on the Assembly Line|with a Plan|in the Basement Lab",
        leads="introduces a builder of {x} and {y}|takes apart {x} to see what makes it tick|"
        "is a hands-on story of {x} and a soldering iron|learns to walk with help from {x}",
        details="servo motors|balancing sensors|a steady gripper|neural controllers|"
        "blinking diodes|gears and pulleys|a mechanical arm|tangled wires",
        palette="#ced4da #8d99ae #3a506b #5bc0eb #fde74c",
        motif=motifs.robot,
        timbre=Timbre(
            pitch=(110, 220),
            harmonics=(1, 0, 0.33, 0, 0.2, 0, 0.14),
            note=0.12,
            attack=0.001,
            decay=2,
            hiss=0,
        ),
        motion=lambda t: (floor(6 * t) / 6 % 1, 0.5 + 0.12 * (floor(6 * t) % 2), 1),
    ),
    Topic(
        name="mystery",
        label="mystery",
        adjectives="Vanished|Crooked|Foggy|Forgotten|Locked|Whispering|Second|Hollow",
        nouns="Witness|Manor|Letter|Detective|Alibi|Key|Inheritance|Lighthouse",
        tails="of Blackwood|at Midnight|on Platform Nine|without a Name",
        leads="turns on {x} and {y}|begins with {x} and a very cold trail|"
        "is a puzzle of {x} in a house full of suspects|hides the truth behind {x}",
        details="a missing heirloom|a forged signature|footprints in the fog|an unreliable witness|"
        "a locked study|a coded diary|a stranger on the night train|a stopped clock",
        palette="#22223b #4a4e69 #c9ada7 #f2e9e4 #9a8c98",
        motif=motifs.lens,
        timbre=Timbre(
            pitch=(130, 260),
            harmonics=(1, 0.4, 0, 0.2),
            note=0.6,
            attack=0.15,
            decay=1.5,
            hiss=0.05,
        ),
        motion=lambda t: (0.5 + 0.28 * cos(2 * pi * t), 0.5 + 0.25 * sin(2 * pi * t), 1),
    ),
)
