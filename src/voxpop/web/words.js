// The page's own words in English and French, its numbers and its times; it never translates what a post or the server says.

const named = (model) => (model && model !== "none" ? ` (${model})` : "");

const ENGLISH = {
  ask: "Ask what people are saying",
  followUp: "Ask a follow-up",
  heroStart: "What are people saying",
  heroNow: "right now?",
  heroLine: "Answers from live public posts. Every sentence is cited and checked.",
  examples: "Try",
  send: "Ask",
  stop: "Stop",
  keys: "Enter to ask · Shift+Enter for a new line",
  voice: "Voice",
  newConversation: "New conversation",
  darkTheme: "Dark theme",
  latest: "↓ Latest",
  perMinute: (n) => `${n} posts/min`,
  lag: (age) => `lag ${age}`,
  behind: (age) => `${age} behind`,
  catchingUp: (age) => `${age} behind, catching up`,
  gap: (name, since, until, why) => `no posts from ${name} ${since}–${until}: ${why}`,
  spent: (usd, budget) => (budget ? `${usd} of ${budget} this month` : `${usd} this month`),
  streams: "Sources",
  perMinuteHour: "Posts per minute, last hour",
  atMost: (n) => `at most ${n}`,
  hourOf: (now, most) => `Posts per minute in the last hour: now ${now}, at most ${most}`,
  posts: (n, shown) => `${shown} ${n === 1 ? "post" : "posts"}`,
  waiting: "waiting for posts",
  offline: "offline",
  connecting: "connecting",
  simulated: "Simulated stream",
  simulatedLine: "Invented posts: nothing here happened.",
  late: "Late",
  lateLine: (age) => `The stream is ${age} behind: answers may miss the newest posts.`,
  sourceDown: "Source not live",
  sourceLine: (name, state) => `${name}: ${state}`,
  engineDown: "Engine",
  engineLine: (name, state) => `${name}: ${state}`,
  unreachable: "Disconnected",
  unreachableLine: "The server cannot be reached. Trying again…",
  searching: (query) => (query ? `Searching “${query}”` : "Searching"),
  searched: (query) => (query ? `Searched “${query}”` : "Searched"),
  writing: "Writing",
  reading: "Checking each sentence against its posts",
  noPosts: "no post found",
  newest: "newest",
  now: "just now",
  ago: (age) => `${age} ago`,
  source: (n, name) => (name ? `Source ${n}: ${name}` : `Source ${n}`),
  sources: "Sources",
  openOn: (network) => (network ? `Open on ${network}` : "Open the post"),
  crowd: (n, authors) => `${n} ${n === "1" ? "post" : "posts"}, ${authors} independent ${authors === "1" ? "author" : "authors"}`,
  people: {
    authority: "listed authority", press: "listed press", organisation: "verified organisation", person: "proven identity",
    unknown: "unlisted account",
  },
  tones: { satire: "satire", parody: "parody", question: "only asks" },
  why: "why",
  outcome: {
    shown: "Stated: who says it is listed, and the words are in the post.",
    attributed: "Told in its author’s name: nobody listed says it.",
    repaired: "Put in the place of a sentence that failed its checks.",
  },
  support: (n) => `The cited posts carry it with a probability of ${n} %.`,
  ours: "voxpop: ",
  refusedBy: (title) => `Not answered: ${title}`,
  refusals: "All rules are listed under Sources.",
  policy: "What it refuses",
  policyLine: "Everything else is answered, from posts.",
  policyChanged: "The operator of this server has changed the rules.",
  result: {
    "not declared": (time) => `Not declared as of ${time}`,
    declared: () => "Declared by a listed authority",
  },
  isDown: (name) => `${name} is down`,
  rests: "What this rests on",
  lookedFor: "Searched",
  restsOn: "Cited",
  newestEvidence: "Newest evidence",
  oldestEvidence: "Oldest evidence",
  answerId: "Answer",
  keptFrom: (time) => `A kept answer of ${time}.`,
  stillHolds: "Every sentence still holds.",
  nowFails: (n, shown) => (n === 1 ? "1 sentence no longer holds." : `${shown} sentences no longer hold.`),
  textGone: "This sentence is gone with its post.",
  states: { gone: "Its post is gone", replaced: "Replaced by a later post", fails: "No longer carried by its posts" },
  remake: "Make it again",
  identical: "Made again: the same, byte for byte.",
  differs: "Made again: not the same.",
  watch: "Watch this",
  unwatch: "Stop watching",
  watching: "You will be told here when the answer changes.",
  flipped: "The answer changed",
  seen: (time) => `Seen here ${time}`,
  posted: (time) => `Posted ${time}`,
  dated: (time) => `dated ${time} by its author`,
  close: "Close",
  withheld: (n) => (n === 1 ? "1 sentence withheld: why" : `${n} sentences withheld: why`),
  evidence: (age) => `newest evidence ${age} old`,
  noEvidence: "no post cited",
  streamLag: (age) => `stream lag ${age}`,
  engine: (name, model) => `engine ${name}${named(model)}`,
  voiceUsed: (name) => `voice ${name}`,
  simulatedShort: "simulated",
  stopped: "stopped",
  cut: "cut at the length limit",
  lost: "The connection was lost before the end of the answer.",
  noServer: "The server cannot be reached.",
  noServerCure: "Check that it is running and ask again.",
  refused: (status) => `The server answered ${status}.`,
  error: "No answer",
  interrupted: "Interrupted",
  unanswered: "The posts do not answer this.",
  copy: "Copy",
  copied: "Copied",
  again: "Ask again",
  day: "d",
  account: "Your account",
  signIn: "Sign in",
  signUp: "Make an account",
  signInInstead: "I have an account",
  signUpInstead: "Make an account",
  signInWith: (title) => `Sign in with ${title}`,
  signedInAs: (name) => `Signed in as ${name}`,
  userName: "Name or e-mail address",
  password: "Password",
  signOut: "Sign out",
  signOutAll: "Sign out everywhere",
  ranks: { admin: "admin", member: "" },
  noLimits: "No limits.",
  waits: (title, place, of) => `${title}: you are ${place} of ${of} on the waiting list:`,
  buckets: {
    chat: "Answers", search: "Searches", embeddings: "Embeddings", tokens: "Counting", files: "Files",
    batch: "Batches", pictures: "Pictures", other: "Other",
  },
  measures: { requests: "requests", tokens: "tokens", concurrent: "at once" },
  periods: { second: "second", minute: "minute", day: "day", month: "month" },
  limitOf: (measure, per) => (per ? `${measure} a ${per}` : measure),
  leftOf: (left, limit) => `${left} of ${limit} left`,
  resets: (time, wait) => `full again at ${time}, in ${wait}`,
  comeBack: (time, wait) => `You can ask again at ${time}, in ${wait}.`,
  keysTitle: "Keys for your programs",
  keyName: "Name of the key",
  createKey: "Create",
  noKeys: "No keys.",
  neverUsed: "never used",
  usedAt: (time) => `used ${time}`,
  validUntil: (time) => `valid until ${time}`,
  revoke: "Revoke",
  revokeKey: (name) => `Revoke the key ${name}`,
  reallyRevoke: "Really?",
  revoked: (name) => `The key ${name} is revoked.`,
  shownOnce: "Keep it now: it is not shown again.",
  changePassword: "Change the password",
  passwordNow: "Password of now",
  passwordNew: "New password",
  change: "Change",
  passwordChanged: "It is changed. You are signed out everywhere else.",
};

const FRENCH = {
  ask: "Demandez ce que disent les gens",
  followUp: "Poursuivez",
  heroStart: "Que disent les gens",
  heroNow: "en ce moment\u202f?",
  heroLine: "Des réponses tirées de messages publics en direct. Chaque phrase est citée et vérifiée.",
  examples: "Essayez",
  send: "Demander",
  stop: "Arrêter",
  keys: "Entrée pour demander · Maj+Entrée pour aller à la ligne",
  voice: "Ton",
  newConversation: "Nouvelle conversation",
  darkTheme: "Thème sombre",
  latest: "↓ Suite",
  perMinute: (n) => `${n} messages/min`,
  lag: (age) => `retard ${age}`,
  behind: (age) => `${age} de retard`,
  catchingUp: (age) => `${age} de retard, en rattrapage`,
  gap: (name, since, until, why) => `aucun message de ${name} ${since}–${until}\u00a0: ${why}`,
  spent: (usd, budget) => (budget ? `${usd} sur ${budget} ce mois-ci` : `${usd} ce mois-ci`),
  streams: "Flux",
  perMinuteHour: "Messages par minute, dernière heure",
  atMost: (n) => `${n} au plus`,
  hourOf: (now, most) => `Messages par minute dans la dernière heure\u00a0: ${now} à présent, ${most} au plus`,
  posts: (n, shown) => `${shown} ${n < 2 ? "message" : "messages"}`,
  waiting: "en attente de messages",
  offline: "hors ligne",
  connecting: "connexion",
  simulated: "Flux simulé",
  simulatedLine: "Messages inventés\u00a0: rien de tout cela n’a eu lieu.",
  late: "En retard",
  lateLine: (age) => `Le flux a ${age} de retard\u00a0: les tout derniers messages peuvent manquer.`,
  sourceDown: "Source hors direct",
  sourceLine: (name, state) => `${name}\u00a0: ${state}`,
  engineDown: "Moteur",
  engineLine: (name, state) => `${name}\u00a0: ${state}`,
  unreachable: "Déconnecté",
  unreachableLine: "Le serveur ne répond pas. Nouvel essai…",
  searching: (query) => (query ? `Recherche de «\u00a0${query}\u00a0»` : "Recherche"),
  searched: (query) => (query ? `Recherche de «\u00a0${query}\u00a0»` : "Recherche"),
  writing: "En train d’écrire",
  reading: "Chaque phrase est comparée à ses messages",
  noPosts: "aucun message trouvé",
  newest: "le plus récent",
  now: "à l’instant",
  ago: (age) => `il y a ${age}`,
  source: (n, name) => (name ? `Source ${n}\u00a0: ${name}` : `Source ${n}`),
  sources: "Sources",
  openOn: (network) => (network ? `Ouvrir sur ${network}` : "Ouvrir le message"),
  crowd: (n, authors) => `${n} messages, ${authors} ${authors === "1" ? "auteur indépendant" : "auteurs indépendants"}`,
  people: {
    authority: "autorité répertoriée", press: "presse répertoriée", organisation: "organisation vérifiée",
    person: "identité prouvée", unknown: "compte non répertorié",
  },
  tones: { satire: "satire", parody: "parodie", question: "pose une question" },
  why: "pourquoi",
  outcome: {
    shown: "Affirmé\u00a0: l’auteur est répertorié et les mots sont dans son message.",
    attributed: "Dit au nom de son auteur\u00a0: aucun compte répertorié ne le dit.",
    repaired: "Mis à la place d’une phrase qui n’a pas passé les contrôles.",
  },
  support: (n) => `Les messages cités la portent avec une probabilité de ${n}\u00a0%.`,
  ours: "voxpop\u00a0: ",
  refusedBy: (title) => `Sans réponse\u00a0: ${title}`,
  refusals: "Toutes les règles sont sous «\u00a0Flux\u00a0».",
  policy: "Ce qui est refusé",
  policyLine: "Tout le reste reçoit une réponse, tirée de messages.",
  policyChanged: "L’exploitant de ce serveur a changé les règles.",
  result: {
    "not declared": (time) => `Non proclamé à ${time}`,
    declared: () => "Proclamé par une autorité répertoriée",
  },
  isDown: (name) => `${name} est en panne`,
  rests: "Sur quoi cela repose",
  lookedFor: "Recherché",
  restsOn: "Cités",
  newestEvidence: "Source la plus récente",
  oldestEvidence: "Source la plus ancienne",
  answerId: "Réponse",
  keptFrom: (time) => `Une réponse gardée du ${time}.`,
  stillHolds: "Chaque phrase tient encore.",
  nowFails: (n, shown) => (n === 1 ? "1 phrase ne tient plus." : `${shown} phrases ne tiennent plus.`),
  textGone: "Cette phrase a disparu avec son message.",
  states: { gone: "Son message a disparu", replaced: "Remplacée par un message plus récent", fails: "Ses messages ne la portent plus" },
  remake: "Refaire",
  identical: "Refaite\u00a0: la même, octet pour octet.",
  differs: "Refaite\u00a0: différente.",
  watch: "Suivre",
  unwatch: "Ne plus suivre",
  watching: "Vous serez prévenu ici quand la réponse change.",
  flipped: "La réponse a changé",
  seen: (time) => `Vu ici ${time}`,
  posted: (time) => `Publié ${time}`,
  dated: (time) => `daté du ${time} par son auteur`,
  close: "Fermer",
  withheld: (n) => (n === 1 ? "1 phrase retenue\u00a0: pourquoi" : `${n} phrases retenues\u00a0: pourquoi`),
  evidence: (age) => `source la plus récente\u00a0: ${age}`,
  noEvidence: "aucun message cité",
  streamLag: (age) => `retard du flux ${age}`,
  engine: (name, model) => `moteur ${name}${named(model)}`,
  voiceUsed: (name) => `ton ${name}`,
  simulatedShort: "simulé",
  stopped: "arrêté",
  cut: "coupé à la longueur limite",
  lost: "La connexion a été perdue avant la fin de la réponse.",
  noServer: "Le serveur ne répond pas.",
  noServerCure: "Vérifiez qu’il est lancé, puis redemandez.",
  refused: (status) => `Le serveur a répondu ${status}.`,
  error: "Pas de réponse",
  interrupted: "Interrompu",
  unanswered: "Les messages ne répondent pas à cette question.",
  copy: "Copier",
  copied: "Copié",
  again: "Redemander",
  day: "j",
  account: "Votre compte",
  signIn: "Se connecter",
  signUp: "Créer un compte",
  signInInstead: "J’ai déjà un compte",
  signUpInstead: "Créer un compte",
  signInWith: (title) => `Continuer avec ${title}`,
  signedInAs: (name) => `Connecté\u00a0: ${name}`,
  userName: "Nom ou adresse e-mail",
  password: "Mot de passe",
  signOut: "Se déconnecter",
  signOutAll: "Se déconnecter partout",
  ranks: { admin: "administrateur", member: "" },
  noLimits: "Aucune limite.",
  waits: (title, place, of) => `${title}\u00a0: vous êtes ${place}\u00a0/\u00a0${of} sur la liste d’attente\u00a0:`,
  buckets: {
    chat: "Réponses", search: "Recherches", embeddings: "Vecteurs", tokens: "Comptages", files: "Fichiers",
    batch: "Lots", pictures: "Images", other: "Autres",
  },
  measures: { requests: "requêtes", tokens: "jetons", concurrent: "en même temps" },
  periods: { second: "seconde", minute: "minute", day: "jour", month: "mois" },
  limitOf: (measure, per) => (per ? `${measure} par ${per}` : measure),
  leftOf: (left, limit) => `${left} sur ${limit}`,
  resets: (time, wait) => `à nouveau entier à ${time}, dans ${wait}`,
  comeBack: (time, wait) => `Revenez à ${time}, dans ${wait}.`,
  keysTitle: "Clés pour vos programmes",
  keyName: "Nom de la clé",
  createKey: "Créer",
  noKeys: "Aucune clé.",
  neverUsed: "jamais utilisée",
  usedAt: (time) => `utilisée ${time}`,
  validUntil: (time) => `valable jusqu’à ${time}`,
  revoke: "Révoquer",
  revokeKey: (name) => `Révoquer la clé ${name}`,
  reallyRevoke: "Vraiment\u00a0?",
  revoked: (name) => `La clé ${name} est révoquée.`,
  shownOnce: "Gardez-la maintenant\u00a0: elle ne sera plus montrée.",
  changePassword: "Changer le mot de passe",
  passwordNow: "Mot de passe actuel",
  passwordNew: "Nouveau mot de passe",
  change: "Changer",
  passwordChanged: "C’est changé. Vous êtes déconnecté partout ailleurs.",
};

export const LANGUAGE = /^fr\b/i.test(navigator.language || "") ? "fr" : "en";
export const WORDS = LANGUAGE === "fr" ? FRENCH : ENGLISH;

const locale = navigator.language?.toLowerCase().startsWith(LANGUAGE) ? navigator.language : LANGUAGE;
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const exact = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "long" });
const hour = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const short = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });

const dollars = new Intl.NumberFormat(locale, { style: "currency", currency: "USD", currencyDisplay: "narrowSymbol" });

export const count = (n) => whole.format(n);
export const money = (usd) => dollars.format(usd);

/** Write the page's words into the elements that ask for them by data-text, data-label and data-placeholder. */
export function translate(root) {
  document.documentElement.lang = LANGUAGE;
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = WORDS[element.dataset.text];
  for (const element of root.querySelectorAll("[data-placeholder]")) element.placeholder = WORDS[element.dataset.placeholder];
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", WORDS[element.dataset.label]);
    if (element.matches("button")) element.title = WORDS[element.dataset.label];
  }
}

/** Tell a screen reader, politely and once. */
export function say(text) {
  const line = document.createElement("p");
  line.textContent = text;
  document.getElementById("announcer").append(line);
  setTimeout(() => line.remove(), 10000);
}

let skew = 0;

/** Now, by the server's clock. */
export const now = () => new Date(Date.now() + skew);

/** Read the server's clock from a response, so that a wrong clock here shows no wrong age. */
export function setClock(response) {
  const server = Date.parse(response.headers.get("date") || "") + 500;
  const difference = server - Date.now();
  skew = Math.abs(difference) > 2000 ? difference : 0;
}

/** Seconds since the ISO time, by the server's clock; NaN where there is none. */
export const secondsSince = (iso) => (Date.now() + skew - Date.parse(iso || "")) / 1000;

/** A length of time: "0.4 s", "12 min", "3 h", "2 d". */
export function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 9.95) return `${tenth.format(s)}\u00a0s`;
  if (s < 59.5) return `${whole.format(s)}\u00a0s`;
  if (s < 3570) return `${whole.format(s / 60)}\u00a0min`;
  if (s < 84600) return `${whole.format(s / 3600)}\u00a0h`;
  return `${whole.format(s / 86400)}\u00a0${WORDS.day}`;
}

/** An age in words: "just now", "3 s ago". */
export function ago(seconds) {
  if (!(seconds >= 1)) return WORDS.now;
  return WORDS.ago(span(seconds < 60 ? Math.floor(seconds) : seconds));
}

export const exactTime = (iso) => exact.format(new Date(iso));
/** The hour and minute, with the day where that is not today. */
export function clock(iso) {
  const time = new Date(iso);
  return time.toDateString() === new Date().toDateString() ? hour.format(time) : short.format(time);
}

export const isTime = (iso) => !Number.isNaN(Date.parse(iso || ""));

/** A <time> whose age is kept up to date while it is on the page. */
export function timeElement(iso, title = exactTime(iso)) {
  const time = document.createElement("time");
  time.dateTime = iso;
  time.title = title;
  time.dataset.at = iso;
  time.textContent = ago(secondsSince(iso));
  return time;
}

setInterval(() => {
  for (const time of document.querySelectorAll("time[data-at]")) {
    const text = ago(secondsSince(time.dataset.at));
    if (time.textContent !== text) time.textContent = text;
  }
}, 1000);
