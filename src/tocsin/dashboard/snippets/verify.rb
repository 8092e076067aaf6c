require "openssl"

# Whether body, the bytes as they came, was signed with secret in the last five minutes.
def genuine?(secret, headers, body)
  id = headers.fetch("webhook-id", "")
  timestamp = headers.fetch("webhook-timestamp", "")
  return false unless timestamp.match?(/\A\d{1,12}\z/) && (Time.now.to_i - timestamp.to_i).abs <= 300

  key = secret.delete_prefix("whsec_").unpack1("m")
  digest = OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{timestamp}.".b + body.b)
  expected = "v1,#{[digest].pack("m0")}"
  headers.fetch("webhook-signature", "").split.any? { |given| OpenSSL.secure_compare(expected, given) }
end
