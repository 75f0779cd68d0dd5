// Translations take the place of this file: po.LANGUAGE.js, made of ../po by po2json of Cockpit.
