// A file of its own, since the page's Content-Security-Policy allows no inline script.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false, // a token is kept in memory, until the page is left
  queryConfigEnabled: false, // no link may make this page show another document
  // By itself it accepts anything, and would follow an image's redirect instead of showing the link.
  requestInterceptor: (request) => {
    request.headers.accept = "application/json";
    return request;
  },
  tryItOutEnabled: true,
  validatorUrl: null, // the document is sent to nobody
});
