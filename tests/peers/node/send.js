// node send.js < options.json: one letter by nodemailer; the options are those of its transport and of the letter.
"use strict";
const nodemailer = require("nodemailer");
const { transport, letter } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
nodemailer
  .createTransport(transport)
  .sendMail(letter)
  .then((sent) => console.log(JSON.stringify({ accepted: sent.accepted, response: sent.response })))
  .catch((error) => {
    console.error(String(error));
    process.exitCode = 1;
  });
