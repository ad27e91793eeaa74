//! What can be wrong with a chat file: French, for people, each sentence with what to do about it.

use std::io;

/// Why a chat file was refused. `at` is a byte offset into the unpacked file, lines and columns
/// count from 1, columns in bytes.
#[derive(Debug, thiserror::Error)]
pub enum ChatFileError {
    /// The file system said no: absent, a folder, no right to read, a disk that went away.
    #[error(
        "Le fichier de chat ne peut pas être lu : vérifiez qu'il existe et que SPARK a le droit de le lire."
    )]
    Unreadable {
        #[source]
        source: io::Error,
    },
    /// The compressed stream stops before its end mark.
    #[error(
        "Le fichier de chat gzip s'arrête trop tôt (après {at} octets décompressés) : copiez-le ou téléchargez-le de nouveau."
    )]
    GzipTruncated { at: u64 },
    /// The compressed stream is damaged.
    #[error(
        "Le fichier de chat gzip est abîmé après {at} octets décompressés : copiez-le ou téléchargez-le de nouveau."
    )]
    GzipDamaged {
        at: u64,
        #[source]
        source: io::Error,
    },
    /// More bytes than `ChatFileLimits::unpacked_bytes_max`.
    #[error(
        "Le fichier de chat dépasse {max} octets une fois décompressé : exportez-le de nouveau sans les images \
         intégrées, ou découpez-le."
    )]
    TooLarge { max: u64 },
    /// More messages than `ChatFileLimits::messages_max`.
    #[error(
        "Le fichier de chat contient plus de {max} messages : répartissez le direct en plusieurs imports."
    )]
    TooManyMessages { max: u64 },
    /// One message or line longer than `ChatFileLimits::record_bytes_max`.
    #[error(
        "À la ligne {line} du chat (octet {at}) commence un message de plus de {max} octets : ce n'est pas un \
         message, vérifiez que ce fichier est bien un export de chat."
    )]
    RecordTooLong { line: u64, at: u64, max: usize },
    /// Bytes that are not UTF-8.
    #[error(
        "L'octet {at} du chat (ligne {line}) n'est pas du texte UTF-8 : enregistrez ou exportez le chat de nouveau en UTF-8."
    )]
    NotUtf8 { line: u64, at: u64 },
    /// JSON that does not parse, a cut file for example.
    #[error(
        "Le JSON du chat est cassé à la ligne {line}, colonne {column} (octet {at} ; {why}) : exportez le chat \
         de nouveau, le fichier est peut-être coupé."
    )]
    BrokenJson { line: u64, column: u64, at: u64, why: String },
    /// Well-formed JSON in the list of messages that is no message.
    #[error(
        "L'entrée à la ligne {line}, colonne {column} (octet {at}) n'est pas un message de chat ({why}) : exportez \
         le chat en JSON avec TwitchDownloader."
    )]
    NotAMessage { line: u64, column: u64, at: u64, why: String },
    /// A table row that is not `seconds, user, text`.
    #[error(
        "La ligne {line} du tableau de chat {why} : chaque ligne doit porter les secondes, la personne et le texte."
    )]
    BadRow { line: u64, why: String },
    /// A time that is no time, or lies beyond `ChatFileLimits::offset_ms_max`.
    #[error(
        "Ligne {line} du chat (octet {at}) : « {found} » n'est pas un temps depuis le début du direct. Écrivez des \
         secondes (12.5) ou hh:mm:ss, {max_hours} heures au plus."
    )]
    BadOffset { line: u64, at: u64, found: String, max_hours: i64 },
    /// No format that is known here.
    #[error(
        "Ce n'est pas un fichier de chat ({why}) : donnez un export JSON de TwitchDownloader, une liste de \
         commentaires Twitch (JSON) ou un tableau TSV/CSV secondes, personne, texte ; chacun peut être gzippé."
    )]
    Unrecognised { why: &'static str },
    /// A known format without one usable message.
    #[error(
        "Le fichier de chat ne contient aucun message utilisable ({before_start} avant le début, {without_text} sans \
         texte) : vérifiez que le chat a été téléchargé pour ce direct."
    )]
    Empty { before_start: u64, without_text: u64 },
    /// The caller's closure answered `Break`.
    #[error("La lecture du chat a été arrêtée.")]
    Stopped,
}
