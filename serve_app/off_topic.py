"""What no photo of a garment answers: the prompts that a shop's score floor is calibrated with.

Many topics, several languages, questions, single words, numbers, keyboard mash. A few name a colour, as
people's prompts do: to a model these look half like garments, so they stay a small minority. The evaluation
asks other ones, of other topics (``scripts/evaluation/off_topic.py``).
"""

from __future__ import annotations

PROMPTS = tuple(
    line
    for line in """
income statement of last year
balance sheet template
how do I file a VAT return
accounts receivable ageing
interest rate of the central bank
credit card statement
pension fund performance
currency exchange euro dollar
audit of the annual accounts
bank transfer not received
will it rain on Sunday
ten day weather forecast
hurricane warning for the coast
average temperature in January
sunrise and sunset times
humidity and air pressure
train timetable Munich to Vienna
cheap flights to Lisbon
airport parking
bus stop near the station
road closures this weekend
traffic on the motorway
visa requirements for Japan
hotel with breakfast
lost luggage form
ferry to the island
recipe for lentil soup
how long to boil an egg
gluten free bread
spaghetti carbonara ingredients
best way to roast a chicken
vegan chocolate cake
calories in a banana
sourdough starter
how to make yoghurt
pickled cucumbers
symptoms of the flu
how to lower blood pressure
side effects of ibuprofen
dentist open on Saturday
vaccination schedule for children
sprained ankle treatment
is this mole dangerous
pulse rate after exercise
vitamin D deficiency
emergency number in Spain
python list comprehension
segmentation fault core dumped
how to undo a git commit
SELECT * FROM users WHERE id = 1
connect to a database
javascript is not defined
http status 502
install printer driver
reset my password
router keeps disconnecting
phone battery drains fast
how to take a screenshot
blue screen of death
USB cable type C
external hard disk 2 TB
wireless keyboard and mouse
4K television 55 inch
noise cancelling headphones
best graphics card
digital camera lens
derivative of the logarithm
prime numbers below one hundred
Pythagoras theorem proof
solve for x
area of a circle
standard deviation formula
speed of light
periodic table of elements
how do volcanoes form
photosynthesis explained
structure of DNA
distance from the earth to the moon
theory of relativity
plate tectonics
what is a quark
boiling point of ethanol
history of the Roman empire
French revolution causes
who won the second world war
medieval castles
Napoleon at Waterloo
ancient Egypt pyramids
Cold War timeline
first man on the moon
constitution of the United States
treaty of Versailles
election results
parliament debate today
prime minister resigns
new immigration law
climate summit agreement
tax reform proposal
minimum wage
strike of the train drivers
freedom of speech
city council meeting agenda
football league table
who scored the last goal
Olympic games medal count
tennis ranking
Formula 1 standings
basketball playoffs
marathon training plan
chess opening theory
Tour de France stage
rules of cricket
chords for Wonderwall
symphony orchestra tickets
piano lessons
album of the year
jazz festival programme
guitar strings
how to read sheet music
karaoke bar
opera house Vienna
vinyl record player
plot of Hamlet
summary of the novel
famous poems about love
science fiction books
crossword clue five letters
who wrote Faust
library opening hours
define ambiguous
synonym for happy
quotation by Goethe
how to prune apple trees
tomatoes in the greenhouse
lawn mower
compost heap
when to plant tulips
garden fence
slugs in the salad
hedge trimmer
potting soil
fertiliser for roses
leaking roof
replace a door handle
paint for the bathroom ceiling
cordless drill
kitchen tap dripping
wall plugs and screws
electrician near me
how to lay tiles
wood glue
radiator does not get warm
dishwasher salt
vacuum cleaner bags
washing powder
fridge with freezer
microwave oven
wardrobe assembly instructions
sofa bed
dining table oak
office chair
mattress 140 x 200
used car price
tyre pressure
engine oil change
driving licence renewal
electric car charging station
brake pads
bicycle repair
motorcycle insurance
parking ticket appeal
spark plugs
cat litter
dog training tips
how old do parrots get
aquarium filter
horse riding lessons
hamster cage
bird feeder
lifespan of a tortoise
bee keeping
whales of the Atlantic
job interview questions
curriculum vitae template
letter of resignation
maternity leave
annual leave request
team meeting minutes
project plan milestones
performance review
cover letter example
business plan
rental agreement
notice period of a flat
house prices in London
mortgage calculator
moving boxes
property tax
neighbours are noisy
electricity bill
gas meter reading
home insurance claim
where is my order
opening hours
contact customer service
cancel my subscription
I want to speak to a human
terms and conditions
privacy policy
invoice 2024-118
tracking number
refund not received
school holidays
homework help
university application
spelling test
exam timetable
kindergarten places
learn Spanish online
maths worksheet
scholarship deadline
PhD thesis on batteries
baby names
birthday poem
wedding speech
funeral flowers
divorce lawyer
how to quit smoking
meditation exercises
horoscope Taurus
meaning of dreams
tarot reading
hello
hi there
thank you very much
who are you
tell me a joke
what time is it
are you a robot
test
test test test
foo bar baz
nothing
whatever
please
why
I am bored
help
42
3.14159
007
1000000
12:30
2019-04-01
+49 30 123456
55.7558 N 37.6173 E
room 101
chapter 7
qwertz
asdfgh jkl
lkjhgfdsa
zxcvbnm
poiuytrewq
dfgdfg dfgdfg
hjkl hjkl
aaaaaaaa
xxxx
blah blah blah
sdkfjh sdkjfh
wqeoiu
mnbvc
ghjghj
rtzrtz
kjsdf kjhsd fkjh
!!!
???
...
#$%&
:-)
/etc/passwd
www.example.com
someone@example.com
../../index.html
<b>bold</b>
Wie wird das Wetter morgen
Fahrplan nach Hamburg
Rezept für Kartoffelsuppe
Wo ist der nächste Bahnhof
Steuererklärung abgeben
quelle heure est-il
la recette de la ratatouille
prévisions météo
receta de paella
cómo llegar al aeropuerto
orario dei treni
quanto costa il biglietto
weer in Amsterdam
lorem ipsum
carpe diem
今日の天気
你好
прогноз погоды
the meaning of life
the capital of Australia
how tall is Mount Everest
the cat is on the roof
once upon a time
to be or not to be
all men are created equal
the quick fox jumps over the lazy dog
I think therefore I am
nuclear power station
solar panels on the roof
wind turbine
oil price per barrel
artificial intelligence news
quantum computer
rocket launch
satellite images
fire extinguisher
swimming pool chlorine
camping gas
board game for four players
playing cards
jigsaw puzzle
remote controlled helicopter
lottery numbers
casino bonus
poker hands
white bread
black coffee
green tea
red blood cells
blue cheese
yellow fever
grey seal
brown sugar
pink grapefruit
orange marmalade
""".splitlines()
    if line
)
