"""What no garment answers, of other topics than the prompts that floors are calibrated with."""

from __future__ import annotations

PLAIN = tuple(
    line
    for line in """
quarterly tax report
asdf qwer
stratigraphy of a burial mound
radiocarbon dating
Linear B tablets
potsherds from Knossos
lighthouse keeper
how to tie a bowline
tide table for Dover
draught of a container ship
pilot boat on channel 12
yacht charter in Croatia
beekeepers of the Middle Ages
sestina
what is a dactyl
subjunctive mood in Latin
etymology of window
Esperanto lessons
how to conjugate to swim
dialects of Swabia
Sanskrit grammar
seismograph
limestone caves
stalactites
feldspar and quartz
oil drilling platform
gravel pit
coal mine rescue
blast furnace
copper smelting
aluminium foil thickness
rivets per metre
turbine blade fatigue
gearbox ratio
crane operator certificate
elevator maintenance
escalator out of order
sewage plant
drinking water hardness
flood barrier
avalanche transceiver
ice axe
climbing Kilimanjaro
sherpas
bivouac
crampon rental
spelunking
submarine sonar
battle of Trafalgar
trench warfare
conscription
veterans association
peace negotiations
siege engines
decathlon world record
judo throws
sumo wrestler weight
javelin distance
bobsleigh run
dressage competition results
billiards trick shot
how to juggle
card tricks for beginners
ventriloquist
hypnosis
escape room
stamp collecting
coin auction
model railway gauge H0
kite festival
amateur radio licence
shortwave frequencies
telescope mirror grinding
Messier catalogue
dark matter
neutron stars
comet visible tonight
sundial
leap second
Gregorian calendar
how many days until Easter
Advent concert
harvest festival
carnival in Rio
fireworks permit
confirmation class
Talmud
Zen koan
monastery brewery
cathedral organ
bell ringing
Stoicism
trolley problem
Gödel incompleteness
Turing machine
halting problem
quicksort complexity
binary tree
floating point rounding
memory leak
garbage collector pauses
kernel panic
assembler opcodes
FORTRAN compiler
punched tape
mainframe
floppy drive
modem noise
fax number
telegram
pigeon post
postage to Canada
parcel lost in transit
customs tariff number
bill of lading
pallet dimensions
warehouse shelving
just in time delivery
supply chain disruption
trade union meeting
collective agreement
works council election
sick pay
accident at work
ergonomics of a desk
fire drill
lost property office
lost my passport
stolen bicycle
neighbourhood watch
jury duty
manslaughter
habeas corpus
bail bond
prison visit
burglar alarm
fingerprints
forensic entomology
poison hemlock
snake bite
anaphylactic shock
defibrillator
appendicitis
chickenpox
tetanus booster
gallbladder surgery
root canal
braces for teeth
contact lens solution
glaucoma
tinnitus
hiccups
insomnia
snoring
nightmares
midwife
breastfeeding
teething
potty training
playground
merry-go-round
roller coaster
zoo opening times
lion cubs
kangaroo
hippopotamus
dormouse
bats in the attic
wasps nest
locust swarm
jellyfish
plankton
trout pond
oyster bed
sheep shearing
combine harvester
crop rotation
silage
vineyard tour
cheese fondue
ravioli filling
mashed potatoes
borscht
falafel
kimchi
ramen
rhubarb crumble
whipped cream
maple syrup
peppercorns
saffron price
food poisoning
tip in restaurants
table for two at eight
takeaway menu
kettle descaling
pressure cooker
toaster
ice cube tray
corkscrew
tin opener
lightbulb E27
fuse box
three-phase current
multimeter
inverter
thermostat
heat pump subsidy
chimney draught
loft insulation
damp in the cellar
woodworm
varnish remover
spirit level
sandpaper
wheelbarrow
rainwater butt
pond liner
moles in the lawn
cherry tree diseases
mushroom identification
moss
cactus watering
bonsai
pine needles
poll tax riots
gerrymandering
coalition talks
referendum
ambassador recalled
extradition treaty
carbon tax
bus lane
tram line 4
level crossing
sleeper train
airship
hang glider
helicopter licence
runway lights
air traffic control
cockpit voice recorder
toll road
roundabout
snow chains
tachograph
exhaust emissions
hybrid battery warranty
campsite with electricity
igloo
desert survival
Trans-Siberian railway
Machu Picchu
Northern Lights forecast
geyser
monsoon
drought
Beaufort scale
barometer falling
fog
thank you, that is all
repeat that
I changed my mind
what can you do
are we there yet
long time no see
sorry
never mind
good night
goodbye
sure
maybe
later
bye
hmm hmm
ugh
lol
qwerty
hjklö
wer tzu
cvbn
tgb yhn ujm
plokij
vfr cde
gfhdjs
bnmbnm
iiiiiii
zzz
k k k
xqzj
tralala
hokus pokus
%%%
[]
{"a": 1}
0x7fff
1e10
3 + 4 = 7
10:45
2031
v1.2.3
IBAN
#404
Wie alt ist der Papst
Zugverspätung
Apfelstrudel
Was kostet ein Brief
Feuerwehr
Wahlergebnis
où acheter un timbre
le train est en retard
bonne nuit
feliz cumpleaños
el tiempo en Sevilla
un bicchiere di latte
buonasera
fiets gestolen
tervetuloa
dobrý den
ありがとう
再见
안녕하세요
до свидания
""".splitlines()
    if line
)

WITH_A_COLOUR = tuple(
    line
    for line in """
red wine from Bordeaux
purple haze lyrics
black hole physics
red squirrel habitat
the Red Army
red dwarf star
red tape in public offices
orange peel oil
orange juice concentrate
yellow pages directory
yellow card rule
yellow jacket sting
green energy policy
green card application
Green Party manifesto
greenhouse gas, green deal
blue whale migration
blue chip shares
blue collar jobs
once in a blue moon
navy recruitment office
the navy in 1805
purple heart medal
pink noise generator
the pink panther theme
brown bear hibernation
brown rice cooking time
Mr Brown called
black market
black ice on the road
Black Sea cruise
white paper on security
white noise
white blood cells
White House press office
grey literature
grey matter
grey whale
ruby on rails
lemon cake
""".splitlines()
    if line
)
