"""The words and numbers that vendors' errors consist of: what a redacted message may show.

They are from the vendors' documented error messages (https://developer.fullstory.com/server/,
https://docs.logrocket.com/docs/user-identification-api, and the sources of PostHog, Umami and OpenPanel; read
2026-11-21), and plain words of API errors. No first name, month, weekday, place or colour is among them, except those
that a documented message needs ("max").
"""

from typing import Final

_GRAMMAR: Final = """
a about above across after again all allowed already also am an and another any are aren't as at available be became
because become becomes been before being below between both but by can can't cannot could couldn't currently did
didn't do does doesn't doing don't done due during each either else empty enough every exactly except for from further
future had has hasn't have having hence here how however if in including inside instead into is isn't it its just
later least less like longer longest many max maximum might min minimum missing more most much must mustn't neither
never new next no non none nor not nothing now of off on once one only onto or other others otherwise our out over own
per please possible previous rather same seem seems several shall short shorter should since single size so some such
than that the their them then there these they this those three through thus to together too twice two under unless
until unto up upon use used using very via was wasn't we were what when where whether which while who whose why with
within without would yet you your zero
"""
_API: Final = """
accept acceptable accepted accepts access account action active actual add added additional additionally address
administrator again alias alphanumeric api app application applied apply architect argument arguments array arrays
assign assigned attempt attempted attempting attribute attributes auth authenticate authenticated authentication
authorization authorized automatically back backend backoff bad base basic batch batches bearer begin beyond billing
blank block blocked body bool boolean booleans bools bot broken bucket busy byte bytes cache call called calls
cancelled capacity cause change changed char character characters chars check client clients code codes collision
column come comma concurrent condition conflict conflicted conflicts conform connect connection constraint contact
contain contained contains content contents context conversion convert converted cookie copy cors count create created
creating creation credential credentials custom data database date dates datetime decimal declared decode decoded
decoding deep deeply default defined delete deleted deletion denied deprecated depth describe description deserialize
detail details detected device diagnostic different digit digits disabled disallowed display distinct document does
domain dots double down dropped dropping duplicate duplicated duplicates early edit element elements email emails
enabled encode encoded encoding encountered end ended endpoint endpoints ends enforced engage enterprise entity
entries entry enum equal error errors escape escaped event events exceed exceeded exceeding exceeds exception
exhausted exist existing exists expect expected expects expiration expired expires export exports extra fail failed
failing fails failure failures false fatal feature field fields file files filter find finished first fix flag float
floats folder follow following follows forbidden form format formats formatted found full future gateway general
generated get give given gone grammar greater group groups guid header headers hint hold holds host html http https id
idempotency identification identified identifier identifiers identify identity ids ignored illegal immutable import
imported imports inactive inconsistent incorrect incorrectly index indexed individual individuals ingest ingested
ingestion initialized inner input insert insufficient int integer integers internal interrupted ints invalid ip issue
item items job jobs json key keys kind know known large larger largest last late leading length letter letters level
license limit limited limits line link list lists load locked log login longer loop lost lower lowercase maintenance
malformed malicious map match matches matching mechanism media member merge merged message messages metadata method
methods mismatch mismatched mode model modified multiple name named names namespace need needed needs nested nesting
network null number numbers numeric object objects occurred ok old omitted open operation operations operator option
optional options order organisation organization original outside overflow overloaded overloading overlong owner
pagination pair param parameter parameters params parent parse parsed parser parsing part partial parts password past
patch path payload payloads pending permission permissions permitted persist persisted person persons phone plain plan
plans point position post precise precision prefix present prevented primary primitive privilege privileges problem
process processed processing produced profile profiles prohibited project properties property provide provided
provider public put query queue quota range rate raw reach reached read real reals reason received recognized record
records redirect refer reference refused regex region register registered reject rejected related remaining remove
removed replace replaced replacement replay request requested requests require required requires reserved reset
resource resources respond response restricted result results retried retry retryable retrying return returned reuse
reused revoked role root route row rows rule rules schema scheme scope script second seconds secret secrets section
security segment send sent separator sequence serialize serialized server servers service session sessions set setting
settings shape shorter signature signed site skew slow smaller snapshot something source space spaces special
specified specify stale standard start started starts state statement states status step still stop stopped store
stored str stream strict string strings strs structure submitted subscription succeed success successful suffix
support supported supports suspended syntax system table tables take taken target team temporarily temporary
terminated test text throttle throttled throttling time timed timeout times timestamp timestamps timezone token tokens
top total trailing trait traits transaction transient true truncated try type typed types uid uids unable unacceptable
unauthenticated unauthorized unavailable undefined understand understood undocumented unexpected unicode unique
uniqueness unit unknown unlimited unprocessable unreachable unreadable unrecognized unsupported untyped update updated
updates upgrade upload uploaded upper uppercase uri url urls user users utc uuid uuids valid validate validated
validation value values variable vendor version wait want warning website whitespace whole word words workspace write
writes wrong xml yourself
"""
# Names of fields and values in the vendors' APIs, beside those made of the words above; Postgres' and Prisma's codes.
_NAMES: Final = """
anonymous apikey appid bots clientid csv deviceid displayname distinctid errorcode externalid firstname fullstory gzip
identify indv iso8601 lastname logrocket mixpanel ndjson openpanel orgid p1001 p1002 p1008 p1017 p2000 p2002 p2003
p2010 p2020 p2024 p2034 p2039 posthog profileid projectid rfc3339 sessionid umami userappkey usercreated
userdisplayname useremail userid username utf utf16 utf8 uuidv4 v1 v2 zod
"""
_NUMBERS: Final = """
0 1 2 3 4 5 6 7 8 9 10 100 128 200 202 250 255 256 400 401 402 403 404 405 406 408 409 410 411 412 413 414 415 422 425
429 431 500 501 502 503 504 511 512 1000 1023 1024 2000 2048 4096 8000 8191 8192 10000 16384 22001 32768 50000 65535
65536 100000 1048576
"""

VOCABULARY: Final = frozenset(f"{_GRAMMAR} {_API} {_NAMES} {_NUMBERS}".split())
